import { contentsOf, frameBytesMax, frameStoredMax } from './frames.mjs';
import { isCount, plainName } from './point.mjs';
import { damaged } from './problem.mjs';

/** The manifest's lines (docs/format.md, section 7), checked as they go by; memory does not grow with them. */

/** @typedef {'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'char' | 'block'} EntryType */
/**
 * @typedef {object} Entry
 * @property {Buffer} path relative to the root, which is empty itself
 * @property {EntryType} type
 * @property {number} mode
 * @property {number} uid
 * @property {number} gid
 * @property {string} user
 * @property {string} group
 * @property {bigint} mtimeNs
 * @property {number} size
 * @property {boolean} sparse
 * @property {boolean} streamed its size is the sum of its blocks
 * @property {boolean} unstable
 * @property {Buffer} link
 * @property {[number, number]} device
 * @property {Record<string, Buffer>} xattrs
 */
/** @typedef {{ artifact: number, frameOffset: number, frameBytes: number, offset: number, bytes: number }} Stretch */
/** @typedef {{ bytes: number, sha256: string, stretches: Stretch[] }} Block one stretch, or several that make it up */
/** @typedef {{ id: string, source: string }} ArtifactName */
/** @typedef {{ kind: 'header', artifacts: ArtifactName[] } | { kind: 'entry', entry: Entry } | { kind: 'block', block: Block } | { kind: 'unstable' }} Item */

const manifestFormat = 'backup-coordinator/manifest/1';
const lineLengthMax = 16 * 1024 * 1024;
/** Of one block. */
const stretchesMax = 8192;
/** @type {Record<string, EntryType>} */
const types = { f: 'file', d: 'directory', l: 'symlink', h: 'hardlink', p: 'fifo', c: 'char', b: 'block' };

/**
 * The header, then entries, each followed by its blocks. Ends only where the manifest does.
 *
 * @param {import('./sealed.mjs').SealedFile} sealed @param {string} id of the point
 * @returns {Generator<Item>}
 */
export function* readManifest(sealed, id) {
  const bad = (/** @type {string} */ what) => damaged(`${sealed.name} is damaged: ${what}.`);
  const seen = { entries: 0, blocks: 0, bytes: 0 };
  /** @type {ArtifactName[] | null} */
  let artifacts = null;
  /** @type {Buffer | null} */
  let last = null;
  let over = false;
  for (const text of linesOf(sealed)) {
    if (over) throw bad('something follows its end');
    const line = parseLine(text);
    if (!line) throw bad('a line is no JSON object');
    if (!artifacts) {
      artifacts = headerOf(line, id, bad);
      yield { kind: 'header', artifacts };
    } else if (line.end !== undefined) {
      for (const what of /** @type {const} */ (['entries', 'blocks', 'bytes']))
        if (line.end?.[what] !== seen[what])
          throw bad(`it names ${line.end?.[what]} ${what} at its end but has ${seen[what]}`);
      over = true;
    } else if (line.blocks !== undefined && last) {
      if (!Array.isArray(line.blocks)) throw bad('a line of blocks holds none');
      for (const tuple of line.blocks) {
        const block = Array.isArray(tuple) ? blockOf(tuple, artifacts.length) : null;
        if (!block) throw bad('what should be a block is none');
        seen.blocks++;
        seen.bytes += block.bytes;
        yield { kind: 'block', block };
      }
    } else if (line.unstable !== undefined && last) {
      yield { kind: 'unstable' };
    } else {
      const entry = entryOf(line);
      if (!entry) throw bad('a line is no entry');
      if (last && comparePaths(last, entry.path) >= 0) throw bad('its entries are out of order');
      last = entry.path;
      seen.entries++;
      yield { kind: 'entry', entry };
    }
  }
  if (!over) throw bad('it has no end; it was cut off');
}

/** @param {any} line @param {string} id @param {(what: string) => Error} bad @returns {ArtifactName[]} */
function headerOf(line, id, bad) {
  if (line.format !== manifestFormat)
    throw bad(`its format is not ${manifestFormat}; use the restore script that lies beside the newer points`);
  if (line.id !== id) throw bad(`it is that of ${String(line.id).slice(0, 200)}`);
  const { artifacts } = line;
  const isWhole = Array.isArray(artifacts) && artifacts.every((a) => plainName.test(a?.id) && plainName.test(a.source));
  if (!isWhole || artifacts[0]?.id !== id) throw bad('its header is incomplete');
  return artifacts;
}

/** @param {import('./sealed.mjs').SealedFile} sealed @returns {Generator<string>} */
function* linesOf(sealed) {
  const decoder = new TextDecoder();
  let rest = '';
  for (const content of contentsOf(sealed)) {
    const lines = (rest + decoder.decode(content, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > lineLengthMax) throw damaged(`${sealed.name} is damaged: a line has no end.`);
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** @param {string} text @returns {any} */
function parseLine(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {any[]} tuple @param {number} artifacts @returns {Block | null} */
function blockOf(tuple, artifacts) {
  if (typeof tuple[1] === 'string') return patchworkOf(tuple, artifacts);
  const [artifact, frameOffset, frameBytes, offset, bytes, sha256] = tuple;
  const stretch = stretchOf([artifact, frameOffset, frameBytes], offset, bytes, artifacts);
  if (!stretch || typeof sha256 !== 'string' || tuple.length > 7) return null;
  return { bytes, sha256, stretches: [stretch] };
}

/** A block that lies in several places. @param {any[]} tuple @param {number} artifacts @returns {Block | null} */
function patchworkOf([bytes, sha256, frames, places, ...more], artifacts) {
  if (!Array.isArray(frames) || !Array.isArray(places) || places.length > stretchesMax || more.length > 1) return null;
  const stretches = [];
  let sum = 0;
  for (const place of places) {
    const [frame, offset, length] = Array.isArray(place) && place.length === 3 ? place : [];
    const stretch = isCount(frame, frames.length - 1) && stretchOf(frames[frame], offset, length, artifacts);
    if (!stretch) return null;
    stretches.push(stretch);
    sum += length;
  }
  return sum > 0 && sum === bytes && sum <= frameBytesMax ? { bytes, sha256, stretches } : null;
}

/** @param {any} frame @param {any} offset @param {any} bytes @param {number} artifacts @returns {Stretch | null} */
function stretchOf(frame, offset, bytes, artifacts) {
  if (!Array.isArray(frame) || frame.length !== 3) return null;
  const [artifact, frameOffset, frameBytes] = frame;
  const placed = isCount(artifact, artifacts - 1) && isCount(frameOffset) && isCount(frameBytes, frameStoredMax);
  const within = isCount(offset, frameBytesMax) && isCount(bytes, frameBytesMax - offset) && bytes > 0;
  return placed && within ? { artifact, frameOffset, frameBytes, offset, bytes } : null;
}

/** @param {any} line @returns {Entry | null} */
function entryOf(line) {
  const texts = [line.p ?? '', line.p64 ?? '', line.l ?? '', line.l64 ?? '', line.un ?? '', line.gn ?? ''];
  const ids = [line.u ?? 0, line.g ?? 0, ...(line.r === undefined ? [] : [line.r?.[0], line.r?.[1]])];
  const isWhole =
    (line.p !== undefined || line.p64 !== undefined) &&
    texts.every((t) => typeof t === 'string') &&
    typeof line.t === 'string' &&
    Object.hasOwn(types, line.t) &&
    typeof line.mt === 'string' &&
    /^-?\d{1,20}$/.test(line.mt) &&
    isCount(line.m, 0o7777) &&
    ids.every((n) => isCount(n, 0xffffffff)) &&
    isCount(line.s ?? 0) &&
    (line.x === undefined ||
      (typeof line.x === 'object' && line.x !== null && Object.values(line.x).every((v) => typeof v === 'string')));
  if (!isWhole) return null;
  return {
    path: line.p64 === undefined ? Buffer.from(line.p) : Buffer.from(line.p64, 'base64'),
    type: types[line.t],
    mode: line.m,
    uid: line.u ?? 0,
    gid: line.g ?? 0,
    user: line.un ?? 'root',
    group: line.gn ?? 'root',
    mtimeNs: BigInt(line.mt),
    size: line.s ?? 0,
    sparse: line.sp === 1,
    streamed: line.q === 1,
    unstable: line.z === 1,
    link: line.l64 === undefined ? Buffer.from(line.l ?? '') : Buffer.from(line.l64, 'base64'),
    device: line.r ?? [0, 0],
    xattrs: Object.fromEntries(
      Object.entries(line.x ?? {}).map(([name, value]) => [name, Buffer.from(String(value), 'base64')]),
    ),
  };
}

/** By bytes, '/' before all others: a folder comes right before what it holds. @param {Buffer} a @param {Buffer} b */
export function comparePaths(a, b) {
  const slash = 0x2f;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] === b[i]) continue;
    if (a[i] === slash) return -1;
    if (b[i] === slash) return 1;
    return a[i] - b[i];
  }
  return a.length - b.length;
}
