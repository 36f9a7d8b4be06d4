import { closeSync, ftruncateSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { contentsOf } from './frames.mjs';
import { foldersIn, isCount, keyFits, openAny, parseWritten, signatureFits, wrappedKeys } from './point.mjs';
import { damaged, exitCodes, Problem } from './problem.mjs';
import { openObject, readSome, SealedFile } from './sealed.mjs';
import { createProgress, print, say, shellWord, size } from './text.mjs';

/** Write-ahead log as the segment files that PostgreSQL's restore_command asks for (docs/format.md, section 9). */

/** @typedef {{ store: string, trusted: string[], keyring: import('./point.mjs').Keyring }} Access */
/** @typedef {{ timeline: string, file: string, name: string, start: bigint, end: bigint, history: boolean }} WalFile */
/**
 * @typedef {object} WalLine the first line, as far as it is used here
 * @property {string} format
 * @property {'range' | 'history'} kind
 * @property {string} id
 * @property {{ name: string }} source
 * @property {number} timeline
 * @property {string} [startLsn]
 * @property {string} [endLsn]
 * @property {number} [segmentBytes]
 * @property {{ bytes: number }} content
 * @property {{ bytes: number, sha256: string }} cipher
 * @property {{ scheme: string, recipients: string[], keyCheck: string, key: string }} encryption
 * @property {{ algorithm: string, publicKey: string, value: string }} signature
 */

const walFormat = 'backup-coordinator/wal/1';
const walLineMax = 64 * 1024;
const walRangeName = /^([0-9A-F]{16})-([0-9A-F]{16})-\d{8}T\d{9}Z-[0-9a-f]{8}\.wal$/;
const walHistoryName = /^history-[0-9a-f]{8}\.wal$/;

/**
 * Writes all WAL of a source into a folder, and says what PostgreSQL is to be told.
 *
 * @param {string} source @param {string} into an empty folder @param {Access} access
 * @returns {number} the exit code
 */
export function restoreWal(source, into, access) {
  const files = [...walFiles(access.store, source)];
  if (files.length === 0)
    throw new Problem(
      'unknown',
      `${access.store} holds no WAL of ${source}.`,
      `Name the folder that holds ${source}/wal.`,
    );
  const progress = createProgress('restored', 0);
  /** @type {WalFile[]} */
  const done = [];
  let lost = 0;
  for (const file of files) {
    try {
      progress.add(file.history ? writeHistory(file, into, access) : writeRange(file, into, access));
      done.push(file);
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'damage') throw error;
      lost++;
      progress.clear();
      say(`left out, for it is damaged: ${error.message}`);
    }
  }
  progress.clear();
  const gaps = gapsIn(done.filter((f) => !f.history));
  for (const gap of gaps) say(`missing: ${gap}`);
  print(`${done.length} objects, ${size(progress.done())} of WAL, in ${into}`);
  print(walCommands(into).join('\n'));
  return lost + gaps.length > 0 ? exitCodes.incomplete : 0;
}

/** @param {string} into */
function walCommands(into) {
  return [
    '',
    'To come back to a moment, before the server on a restored data directory is started for the first time:',
    `  touch DATA/recovery.signal`,
    '  and into DATA/postgresql.auto.conf',
    `    restore_command = 'cp ${shellWord(into).replaceAll("'", "''")}/%f "%p"'`,
    `    recovery_target_time = '2026-01-02 03:04:05+00'      # or recovery_target_lsn, _xid, _name; none: as far as it goes`,
    `    recovery_target_action = 'promote'`,
  ];
}

/** Every object of a source's WAL, by timeline and position. @param {string} store @param {string} source @returns {Generator<WalFile>} */
function* walFiles(store, source) {
  const folder = join(store, source, 'wal');
  for (const timeline of foldersIn(folder)) {
    if (!/^[0-9A-F]{8}$/.test(timeline)) continue;
    for (const name of readdirSync(join(folder, timeline)).sort()) {
      const range = walRangeName.exec(name);
      if (!range && !walHistoryName.test(name)) continue;
      yield {
        timeline,
        file: join(folder, timeline, name),
        name: `${source}/wal/${timeline}/${name}`,
        start: BigInt(`0x${range?.[1] ?? 0}`),
        end: BigInt(`0x${range?.[2] ?? 0}`),
        history: !range,
      };
    }
  }
}

/** @param {WalFile} file @param {string} into @param {Access} access */
function writeHistory(file, into, access) {
  const { sealed } = openWalFile(file, access);
  try {
    writeFileSync(join(into, `${file.timeline}.history`), Buffer.concat([...contentsOf(sealed)]), { mode: 0o600 });
    return 0;
  } finally {
    sealed.close();
  }
}

/** Into the segments that it covers, each as long as PostgreSQL wants it. @param {WalFile} file @param {string} into @param {Access} access */
function writeRange(file, into, access) {
  const { line, sealed } = openWalFile(file, access);
  const segment = BigInt(line.segmentBytes ?? 0);
  let at = file.start;
  try {
    for (const content of contentsOf(sealed)) {
      for (let rest = content; rest.length > 0; ) {
        const offset = Number(at % segment);
        const part = rest.subarray(0, Number(segment) - offset);
        writeInto(join(into, segmentFile(file.timeline, at, segment)), part, offset, Number(segment));
        at += BigInt(part.length);
        rest = rest.subarray(part.length);
      }
    }
  } finally {
    sealed.close();
  }
  if (at !== file.end) throw damaged(`${file.name} is damaged: it does not reach as far as it says.`);
  return line.content.bytes;
}

/** @param {string} file @param {Uint8Array} bytes @param {number} offset @param {number} length of the whole file */
function writeInto(file, bytes, offset, length) {
  const fd = openSync(file, 'a', 0o600);
  closeSync(fd);
  const out = openSync(file, 'r+');
  try {
    ftruncateSync(out, length);
    for (let at = 0; at < bytes.length; ) at += writeSync(out, bytes, at, bytes.length - at, offset + at);
  } finally {
    closeSync(out);
  }
}

/** @param {string} timeline @param {bigint} at @param {bigint} segment */
function segmentFile(timeline, at, segment) {
  const perId = 0x100000000n / segment;
  const number = at / segment;
  const hex = (/** @type {bigint} */ n) => n.toString(16).toUpperCase().padStart(8, '0');
  return `${timeline}${hex(number / perId)}${hex(number % perId)}`;
}

/** Reads and checks the first line, and opens what follows it. @param {WalFile} file @param {Access} access */
function openWalFile(file, { trusted, keyring }) {
  const { line, lineBytes } = readWalLine(file);
  const { publicKey } = line.signature;
  if (trusted.length > 0 && !trusted.includes(publicKey))
    throw damaged(`${file.name} is signed by ${publicKey}, which you did not name as trusted.`);
  if (!signatureFits(line)) throw damaged(`${file.name} was changed after it was signed.`);
  const says = file.history ? line.kind === 'history' : line.kind === 'range' && isRangeOf(line, file);
  if (!says || line.timeline !== Number.parseInt(file.timeline, 16) || !file.name.startsWith(`${line.source.name}/`))
    throw damaged(`${file.name} is that of ${line.id}.`);
  const key = unlockWal(file, line, keyring);
  const associatedData = `${line.id}/wal`;
  const options = { key, associatedData, bytes: line.cipher.bytes, name: file.name, start: lineBytes };
  return { line, sealed: new SealedFile(file.file, options) };
}

/** By the key in its line, or by one that lies beside it. @param {WalFile} file @param {WalLine} line @param {Access['keyring']} keyring */
function unlockWal({ file, name }, line, { identities, keys }) {
  for (const key of keys) if (keyFits(key, line)) return key;
  const inLine = {
    name,
    read: () => Buffer.from(line.encryption.key, 'base64'),
    recipients: line.encryption.recipients,
  };
  const besides = wrappedKeys(file.slice(0, -'.wal'.length), name.slice(0, -'.wal'.length));
  const { key, broken, recipients } = openAny([inLine, ...besides], identities, line);
  if (key) return key;
  if (broken) throw broken;
  throw new Problem(
    'usage',
    `${name} does not open: it is sealed for ${[...recipients].join(', ')}.`,
    'Give --identity FILE, for one of those recipients.',
  );
}

/** @param {WalLine} line @param {WalFile} file */
function isRangeOf({ startLsn, endLsn, segmentBytes, content }, { start, end }) {
  const text = (/** @type {bigint} */ lsn) =>
    `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
  const isPowerOfTwo =
    isCount(segmentBytes) &&
    /** @type {number} */ (segmentBytes) >= 1024 * 1024 &&
    0x40000000 % /** @type {number} */ (segmentBytes) === 0;
  return startLsn === text(start) && endLsn === text(end) && isPowerOfTwo && BigInt(content.bytes) === end - start;
}

/** @param {WalFile} file @returns {{ line: WalLine, lineBytes: number }} */
function readWalLine({ file, name }) {
  const fd = openObject(file, name);
  const bytes = Buffer.alloc(walLineMax);
  let got = 0;
  try {
    for (let more = -1; more !== 0 && got < bytes.length; got += more) more = readSome(fd, bytes, got, got, name);
  } finally {
    closeSync(fd);
  }
  const end = bytes.subarray(0, got).indexOf(0x0a);
  /** @type {any} */
  let line = null;
  try {
    if (end >= 0) line = parseWritten(bytes.subarray(0, end));
  } catch {
    // Said below.
  }
  if (typeof line?.format === 'string' && line.format.startsWith('backup-coordinator/') && line.format !== walFormat)
    throw damaged(
      `${name} has the format ${line.format}; this script reads ${walFormat}.`,
      'Use the script that lies beside newer points.',
    );
  const text = [line?.id, line?.kind, line?.source?.name, line?.encryption?.key, line?.encryption?.keyCheck];
  text.push(line?.signature?.publicKey, line?.signature?.value);
  const isWhole =
    line?.format === walFormat &&
    text.every((t) => typeof t === 'string') &&
    [line.timeline, line.content?.bytes, line.cipher?.bytes].every((n) => isCount(n)) &&
    Array.isArray(line.encryption.recipients) &&
    `${line.encryption.scheme} ${line.signature.algorithm}` === 'tink-streaming-aead/AES256_GCM_HKDF_1MB ed25519';
  if (!isWhole) throw damaged(`${name} is damaged: its first line is no description of WAL.`);
  return { line, lineBytes: end + 1 };
}

/** Between what there is of each timeline. @param {WalFile[]} files in order */
function gapsIn(files) {
  /** @type {string[]} */
  const gaps = [];
  /** @type {Map<string, bigint>} */
  const reached = new Map();
  for (const { timeline, start, end } of files) {
    const before = reached.get(timeline);
    if (before !== undefined && start > before)
      gaps.push(`${start - before} bytes of timeline ${timeline}, from byte ${before} on`);
    reached.set(timeline, before !== undefined && before > end ? before : end);
  }
  return gaps;
}
