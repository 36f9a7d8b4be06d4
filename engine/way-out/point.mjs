import { createHash, createPublicKey, hkdfSync, verify } from 'node:crypto';
import { closeSync, existsSync, fstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openAge, recipientsNamedIn } from './age.mjs';
import { damaged, Problem } from './problem.mjs';
import { openObject, readSome, SealedFile } from './sealed.mjs';

/** Recovery points in a folder that is a store, or a copy of one (docs/format.md, sections 1 to 3). */

/** @typedef {'artifact' | 'manifest' | 'key'} Role */
/**
 * @typedef {object} Backup backup.json, as far as it is used here
 * @property {string} format
 * @property {string} id
 * @property {{ name: string, kind: string, host: string }} source
 * @property {string} level
 * @property {string | null} parent
 * @property {string} capturedAt
 * @property {{ format: string, bytes: number, sourceBytes: number, entries: number, unstable: number }} content
 * @property {Record<string, string | number | boolean | null>} facts
 * @property {{ role: Role, name: string, bytes: number, sha256: string }[]} objects
 * @property {{ scheme: string }} compression
 * @property {{ scheme: string, recipients: string[], keyCheck: string }} encryption
 * @property {{ algorithm: string, publicKey: string, value: string }} signature
 */
/** @typedef {{ backup: Backup, folder: string, name: string, confirmed: boolean }} Point confirmed: signed by a key the person named */
/** @typedef {{ identities: import('./age.mjs').Identity[], keys: Buffer[] }} Keyring */

const backupFormat = 'backup-coordinator/1';
/** Of points, sources and objects: one segment of a path, and no hidden one. */
export const plainName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const descriptionBytesMax = 4 * 1024 * 1024;
const keyBytesMax = 1024 * 1024;
const hex64 = /^[0-9a-f]{64}$/;

/** Source and id of every point in a store, in the order of their names. @param {string} store @returns {Generator<{ source: string, id: string }>} */
export function* findPoints(store) {
  for (const source of foldersIn(store)) {
    for (const id of foldersIn(join(store, source))) {
      if (readdirSync(join(store, source, id)).includes('backup.json')) yield { source, id };
    }
  }
}

/** @param {string} folder */
export function foldersIn(folder) {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    const folders = entries.filter((e) => (e.isDirectory() || e.isSymbolicLink()) && plainName.test(e.name));
    return folders.map((e) => e.name).sort();
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOTDIR') return [];
    throw new Problem(
      'unknown',
      `The store cannot be read: ${folder} (${code}).`,
      'Name the folder that holds SOURCE/ID/backup.json.',
    );
  }
}

/**
 * Reads and checks the description of a point.
 *
 * @param {string} store @param {string} source @param {string} id
 * @param {string[]} trusted public keys, base64; with none any key will do, and the point is not confirmed
 * @returns {Point}
 */
export function readPoint(store, source, id, trusted) {
  const folder = join(store, source, id);
  const name = `${source}/${id}/backup.json`;
  const backup = parseBackup(readSmall(join(folder, 'backup.json'), name, descriptionBytesMax), name);
  if (backup.id !== id || backup.source.name !== source)
    throw damaged(
      `${name} is that of ${backup.source.name}/${backup.id}.`,
      'Put it back where it belongs, or use another copy.',
    );
  const { publicKey } = backup.signature;
  const confirmed = trusted.includes(publicKey);
  if (trusted.length > 0 && !confirmed)
    throw damaged(
      `${name} is signed by ${publicKey}, which you did not name as trusted.`,
      'Somebody else wrote this point, or you know of another key.',
    );
  if (!signatureFits(backup)) throw damaged(`${name} was changed after it was signed.`);
  return { backup, folder, name: `${source}/${id}`, confirmed };
}

/** @param {Buffer} bytes @param {string} name @returns {Backup} */
function parseBackup(bytes, name) {
  /** @type {any} */
  let value;
  try {
    value = parseWritten(bytes);
  } catch (error) {
    throw damaged(`${name} is damaged: ${/** @type {Error} */ (error).message}.`);
  }
  const written = value?.format;
  if (typeof written === 'string' && written.startsWith('backup-coordinator/') && written !== backupFormat)
    throw damaged(
      `${name} has the format ${written}; this script reads ${backupFormat}.`,
      'Use the restore script that lies beside the newer points.',
    );
  const text = [written, value?.id, value?.source?.name, value?.source?.kind, value?.level, value?.capturedAt];
  text.push(value?.content?.format, value?.compression?.scheme, value?.encryption?.scheme, value?.encryption?.keyCheck);
  text.push(value?.signature?.publicKey, value?.signature?.value);
  const numbers = [value?.content?.bytes, value?.content?.sourceBytes, value?.content?.entries];
  const isWhole =
    text.every((t) => typeof t === 'string') &&
    numbers.every((n) => isCount(n)) &&
    [value.id, value.source.name].every((n) => plainName.test(n)) &&
    Array.isArray(value.encryption.recipients) &&
    typeof value.facts === 'object' &&
    value.facts !== null &&
    Array.isArray(value.objects) &&
    value.objects.every(isObject);
  if (!isWhole) throw damaged(`${name} is damaged: it is no description of a recovery point.`);
  const schemes = `${value.compression.scheme} ${value.encryption.scheme} ${value.signature.algorithm}`;
  if (schemes !== 'zstd tink-streaming-aead/AES256_GCM_HKDF_1MB ed25519')
    throw damaged(`${name} names methods that this script does not know: ${schemes}.`);
  return value;
}

/**
 * JSON as it is written by whoever sealed the point: another way of writing the same is damage (docs/format.md, section 2).
 *
 * @param {Uint8Array} bytes
 * @returns {any}
 */
export function parseWritten(bytes) {
  let text = '';
  let value;
  let written = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
    written = JSON.stringify(value);
  } catch {
    throw new Error('it is not JSON');
  }
  const tokens = text.replace(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, (_all, string) => string ?? '');
  if (tokens !== written) throw new Error('it is not written as it was sealed');
  return value;
}

/** @param {any} object */
function isObject(object) {
  return (
    plainName.test(object?.name) &&
    isCount(object.bytes) &&
    hex64.test(object.sha256) &&
    typeof object.role === 'string'
  );
}

/** @param {unknown} value @param {number} [max] */
export function isCount(value, max = Number.MAX_SAFE_INTEGER) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0 && /** @type {number} */ (value) <= max;
}

/** @param {{ signature: Backup['signature'] }} document */
export function signatureFits({ signature, ...signed }) {
  const value = Buffer.from(signature.value, 'base64');
  const raw = Buffer.from(signature.publicKey, 'base64');
  // Of base64 only the one way of writing it counts, so that no bit can be changed.
  if (value.toString('base64') !== signature.value || raw.toString('base64') !== signature.publicKey) return false;
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' });
    return verify(null, Buffer.from(canonical(signed)), key, value);
  } catch {
    // No key, or nested without end: nothing that we signed.
    return false;
  }
}

/** RFC 8785. @param {any} value @returns {string} */
export function canonical(value) {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/** @param {Point} point @param {Role} role */
export function objectOf(point, role) {
  const object = point.backup.objects.find((o) => o.role === role);
  if (object) return object;
  throw damaged(`${point.name}/backup.json is damaged: it names no ${role}.`);
}

/** Opens the artifact or the manifest. @param {Point} point @param {Buffer} key @param {'artifact' | 'manifest'} role */
export function openSealed(point, key, role) {
  const object = objectOf(point, role);
  const associatedData = `${point.backup.id}/${role}`;
  return new SealedFile(join(point.folder, object.name), {
    key,
    associatedData,
    bytes: object.bytes,
    name: `${point.name}/${object.name}`,
  });
}

/**
 * The point's key: one that was given, or the one in key.N.age, the newest first. What is not the key that was signed
 * for does not count.
 *
 * @param {Point} point @param {Keyring} keyring
 * @returns {Buffer}
 */
export function unlock(point, { identities, keys }) {
  for (const key of keys) if (keyFits(key, point.backup)) return key;
  const wrapped = wrappedKeys(point.folder, point.name, point.backup.encryption.recipients);
  if (wrapped.length === 0)
    throw damaged(`${point.name} has no wrapped key (key.1.age).`, 'Use another copy of this recovery point.');
  const { key, broken, recipients } = openAny(wrapped, identities, point.backup);
  if (key) return key;
  if (broken) throw broken;
  const mine = identities.map((i) => i.recipient).join(', ');
  const sealedFor = [...recipients].join(', ') || 'somebody whom it does not name';
  if (mine === '')
    throw new Problem(
      'usage',
      'An identity is needed to open a point.',
      `Give --identity FILE, for one of ${sealedFor}`,
    );
  throw new Problem(
    'damage',
    `${point.name} does not open: it is sealed for ${sealedFor}; your identities are those of ${mine}.`,
    'Use the identity of one of those recipients.',
  );
}

/** @typedef {{ name: string, read: () => Buffer, recipients: string[] | null }} Wrapped recipients: null when it says so itself */

/**
 * The files key.N.age of a folder, the newest first; none where there is no such folder.
 *
 * @param {string} folder @param {string} place what it is called @param {string[]} [recipients] whom the first one is for
 * @returns {Wrapped[]}
 */
export function wrappedKeys(folder, place, recipients = []) {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => /^key\.[1-9]\d{0,8}\.age$/.test(name));
  const number = (/** @type {string} */ name) => Number(name.split('.')[1]);
  files.sort((a, b) => number(b) - number(a));
  return files.map((file) => ({
    name: `${place}/${file}`,
    read: () => readSmall(join(folder, file), `${place}/${file}`, keyBytesMax),
    recipients: file === 'key.1.age' ? recipients : null,
  }));
}

/**
 * The key in the first of them that opens; else what is wrong with those that are damaged, and whom all are for.
 *
 * @param {Wrapped[]} wrapped @param {Keyring['identities']} identities @param {{ id: string, encryption: { keyCheck: string } }} sealed
 */
export function openAny(wrapped, identities, sealed) {
  /** @type {unknown} */
  let broken = null;
  /** @type {Set<string>} */
  const recipients = new Set();
  for (const one of wrapped) {
    try {
      const bytes = one.read();
      const text = openAge(bytes, identities, one.name)?.toString('latin1');
      if (text === undefined) {
        for (const recipient of one.recipients ?? recipientsNamedIn(bytes)) recipients.add(recipient);
        continue;
      }
      const key = parseKey(text);
      if (key && keyFits(key, sealed)) return { key, broken, recipients };
      broken ??= damaged(`${one.name} holds another key than the one that sealed it.`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      broken ??= error;
    }
  }
  return { key: null, broken, recipients };
}

/** 64 hex digits. @param {string} text */
export function parseKey(text) {
  return hex64.test(text.trim()) ? Buffer.from(text.trim(), 'hex') : null;
}

/** @param {Buffer} key @param {{ id: string, encryption: { keyCheck: string } }} backup */
export function keyFits(key, backup) {
  return (
    Buffer.from(hkdfSync('sha256', key, '', `${backup.id}/key`, 32)).toString('hex') === backup.encryption.keyCheck
  );
}

/** A small file, whole. @param {string} file @param {string} name @param {number} bytesMax */
function readSmall(file, name, bytesMax) {
  const fd = openObject(file, name);
  try {
    const { size } = fstatSync(fd);
    if (size > bytesMax) throw damaged(`${name} is damaged: it has ${size} bytes.`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** @param {Point} point @param {Role} role */
export function hasObject(point, role) {
  return existsSync(join(point.folder, objectOf(point, role).name));
}

/**
 * What is wrong with an object's length or SHA-256; null when nothing is.
 *
 * @param {Point} point @param {Role} role
 * @returns {string | null}
 */
export function compareObject(point, role) {
  const object = objectOf(point, role);
  const name = `${point.name}/${object.name}`;
  const fd = openObject(join(point.folder, object.name), name);
  try {
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(1024 * 1024);
    let bytes = 0;
    for (let got = -1; got !== 0; bytes += got) {
      got = readSome(fd, chunk, 0, null, name);
      hash.update(chunk.subarray(0, got));
    }
    const sha256 = hash.digest('hex');
    if (bytes !== object.bytes) return `${name} has ${bytes} bytes instead of ${object.bytes}`;
    return sha256 === object.sha256 ? null : `${name} has the SHA-256 ${sha256} instead of ${object.sha256}`;
  } finally {
    closeSync(fd);
  }
}
