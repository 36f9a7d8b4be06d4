import { xxh64Low } from './xxh64.mjs';
import {
  BackwardBits,
  badFrame,
  decodeHuffman,
  readHuffmanTable,
  readStateTable,
  singleState,
  stateTable,
} from './zstd-tables.mjs';

/**
 * Decompresses a zstd frame, for a Node.js that does not (before 22.15): RFC 8878, without dictionaries. Frames are at
 * most 4 MiB, so all of it happens in memory.
 */

/** @typedef {import('./zstd-tables.mjs').StateTable} StateTable */
/** @typedef {import('./zstd-tables.mjs').HuffmanTable} HuffmanTable */

const magic = 0xfd2fb528;
const blockBytesMax = 128 * 1024;
const rawType = 0;
const rleType = 1;
const compressedType = 2;

/** @typedef {{ baselines: number[], bits: number[], defaults: StateTable, accuracyMax: number }} CodeKind */

const literalLengths = codeKind({
  baselines: [...upTo(16, 0), 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, ...doubling(128, 10)],
  bits: [...Array(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, ...upTo(10, 7)],
  defaults: [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
  ],
  defaultAccuracy: 6,
  accuracyMax: 9,
});
const matchLengths = codeKind({
  baselines: [...upTo(32, 3), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, ...doubling(128, 10).map((n) => n + 3)],
  bits: [...Array(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, ...upTo(10, 7)],
  defaults: [1, 4, 3, 2, 2, 2, 2, 2, 2, ...Array(37).fill(1), ...Array(7).fill(-1)],
  defaultAccuracy: 6,
  accuracyMax: 9,
});
/** Up to 2^25: more than frames of ours can reach back. */
const offsets = codeKind({
  baselines: doubling(1, 25),
  bits: upTo(25, 0),
  defaults: [1, 1, 1, 1, 1, 1, 2, 2, 2, ...Array(15).fill(1), ...Array(5).fill(-1)],
  defaultAccuracy: 5,
  accuracyMax: 8,
});

/** @param {{ baselines: number[], bits: number[], defaults: number[], defaultAccuracy: number, accuracyMax: number }} kind @returns {CodeKind} */
function codeKind({ baselines, bits, defaults, defaultAccuracy, accuracyMax }) {
  return { baselines, bits, defaults: stateTable(defaults, defaultAccuracy), accuracyMax };
}

/** @param {number} count @param {number} from @returns {number[]} */
function upTo(count, from) {
  return Array.from({ length: count }, (_, i) => from + i);
}

/** @param {number} from @param {number} count @returns {number[]} */
function doubling(from, count) {
  return Array.from({ length: count }, (_, i) => from * 2 ** i);
}

/**
 * The content of exactly one frame.
 *
 * @param {Uint8Array} frame @param {number} bytesMax a frame that holds more is refused
 * @returns {Uint8Array}
 */
export function decompressFrame(frame, bytesMax) {
  // Bits are fetched by words: four bytes more must be there.
  const bytes = new Uint8Array(frame.length + 4);
  bytes.set(frame);
  const end = frame.length;
  const header = readFrameHeader(bytes, end);
  if (header.contentBytes !== null && header.contentBytes > bytesMax)
    throw badFrame(`it holds more than ${bytesMax} bytes`);
  const state = {
    bytes,
    out: new Uint8Array(header.contentBytes ?? bytesMax),
    length: 0,
    repeats: [1, 4, 8],
    /** @type {HuffmanTable | null} */
    huffman: null,
    /** @type {(StateTable | null)[]} */
    tables: [null, null, null],
  };
  let at = header.next;
  for (let last = false; !last; ) {
    if (at + 3 > end) throw badFrame('it is cut off');
    const block = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    at += 3;
    last = (block & 1) === 1;
    const type = (block >> 1) & 3;
    const size = block >> 3;
    const stored = type === rleType ? 1 : size;
    if (size > blockBytesMax || at + stored > end) throw badFrame('a block is larger than it may be');
    if (type === compressedType) {
      decodeBlock(state, at, at + size);
    } else if (type === rawType || type === rleType) {
      const room = grow(state, size);
      if (type === rawType) state.out.set(bytes.subarray(at, at + size), room);
      else state.out.fill(bytes[at], room, room + size);
    } else {
      throw badFrame('a block is of no known type');
    }
    at += stored;
  }
  if (header.contentBytes !== null && state.length !== header.contentBytes)
    throw badFrame('it holds less than it says');
  const content = state.out.subarray(0, state.length);
  if (header.hasChecksum) {
    if (at + 4 > end) throw badFrame('it is cut off');
    const checksum = new DataView(bytes.buffer).getUint32(at, true);
    if (checksum !== xxh64Low(content)) throw badFrame('its checksum does not fit');
    at += 4;
  }
  if (at !== end) throw badFrame('something follows it');
  return content;
}

/** @typedef {{ bytes: Uint8Array, out: Uint8Array, length: number, repeats: number[], huffman: HuffmanTable | null, tables: (StateTable | null)[] }} FrameState */

/** Makes room at the end of the content; returns where. @param {FrameState} state @param {number} size */
function grow(state, size) {
  const from = state.length;
  if (from + size > state.out.length) throw badFrame('it holds more than it says');
  state.length = from + size;
  return from;
}

/** @param {Uint8Array} bytes @param {number} end */
function readFrameHeader(bytes, end) {
  const view = new DataView(bytes.buffer);
  if (end < 6 || view.getUint32(0, true) !== magic) throw badFrame('it does not begin as one');
  const descriptor = bytes[4];
  if ((descriptor & 0x08) !== 0 || (descriptor & 3) !== 0) throw badFrame('it asks for what is not known here');
  const single = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(single) : 1 << sizeFlag;
  const at = 5 + (single ? 0 : 1);
  const next = at + sizeBytes;
  if (next > end) throw badFrame('it is cut off');
  const read = [() => null, () => bytes[at], () => view.getUint16(at, true) + 256, () => view.getUint32(at, true)];
  const contentBytes = sizeBytes === 8 ? Number(view.getBigUint64(at, true)) : read[[0, 1, 2, 0, 3][sizeBytes]]();
  return { contentBytes, hasChecksum: (descriptor & 4) !== 0, next };
}

/** @param {FrameState} state @param {number} start @param {number} end */
function decodeBlock(state, start, end) {
  const { literals, next } = readLiterals(state, start, end);
  decodeSequences(state, literals, next, end);
}

/**
 * Section 3.1.1.3.1.
 *
 * @param {FrameState} state @param {number} start @param {number} end
 * @returns {{ literals: Uint8Array, next: number }}
 */
function readLiterals(state, start, end) {
  const { bytes } = state;
  if (start >= end) throw badFrame('a block is empty');
  const type = bytes[start] & 3;
  const format = (bytes[start] >> 2) & 3;
  const head = bytes[start] | (bytes[start + 1] << 8) | (bytes[start + 2] << 16);
  if (type === rawType || type === rleType) {
    const headBytes = [1, 2, 1, 3][format];
    const size = [(head >> 3) & 0x1f, (head >> 4) & 0xfff, (head >> 3) & 0x1f, head >> 4][format];
    const from = start + headBytes;
    const next = from + (type === rawType ? size : 1);
    if (size > blockBytesMax || next > end) throw badFrame('literals are cut off');
    return { literals: type === rawType ? bytes.subarray(from, next) : new Uint8Array(size).fill(bytes[from]), next };
  }
  const sizeBits = [10, 10, 14, 18][format];
  const headBytes = [3, 3, 4, 5][format];
  // 5 bytes are more than 32 bits: both sizes are taken from the whole number.
  const whole = (head >> 4) + bytes[start + 3] * 2 ** 20 + (headBytes === 5 ? bytes[start + 4] * 2 ** 28 : 0);
  const size = whole % 2 ** sizeBits;
  const stored = Math.floor(whole / 2 ** sizeBits) % 2 ** sizeBits;
  let from = start + headBytes;
  const next = from + stored;
  if (size > blockBytesMax || next > end) throw badFrame('literals are cut off');
  if (type === compressedType) {
    const read = readHuffmanTable(bytes, from, next);
    state.huffman = read.table;
    from = read.next;
  }
  if (!state.huffman) throw badFrame('literals refer to a table that is not there');
  const literals = new Uint8Array(size);
  if (format === 0) decodeHuffman(state.huffman, bytes, from, next, literals);
  else decodeFourStreams(state.huffman, bytes, from, next, literals);
  return { literals, next };
}

/** @param {HuffmanTable} table @param {Uint8Array} bytes @param {number} start @param {number} end @param {Uint8Array} into */
function decodeFourStreams(table, bytes, start, end, into) {
  const each = (into.length + 3) >> 2;
  let from = start + 6;
  if (from > end) throw badFrame('literals are cut off');
  for (let i = 0; i < 4; i++) {
    const to = i === 3 ? end : from + (bytes[start + 2 * i] | (bytes[start + 2 * i + 1] << 8));
    if (to > end || 3 * each > into.length) throw badFrame('literals are cut off');
    decodeHuffman(table, bytes, from, to, into.subarray(i * each, i === 3 ? into.length : (i + 1) * each));
    from = to;
  }
}

/** Section 3.1.1.3.2. @param {FrameState} state @param {Uint8Array} literals @param {number} start @param {number} end */
function decodeSequences(state, literals, start, end) {
  const { bytes, repeats } = state;
  if (start >= end) throw badFrame('a block is cut off');
  let at = start + 1;
  let count = bytes[start];
  if (count >= 128) {
    count = count === 255 ? bytes[at] + (bytes[at + 1] << 8) + 0x7f00 : ((count - 128) << 8) + bytes[at];
    at += bytes[start] === 255 ? 2 : 1;
  }
  if (count === 0) {
    if (at !== end) throw badFrame('something follows the literals of a block');
    state.out.set(literals, grow(state, literals.length));
    return;
  }
  const modes = bytes[at++];
  if (at > end || (modes & 3) !== 0) throw badFrame('a block is malformed');
  for (const [i, kind] of [literalLengths, offsets, matchLengths].entries()) {
    at = readTable(state, i, (modes >> (6 - 2 * i)) & 3, kind, at, end);
  }
  const [ll, of, ml] = /** @type {StateTable[]} */ (state.tables);
  const stream = new BackwardBits(bytes, at, end);
  let llState = stream.read(ll.accuracy);
  let ofState = stream.read(of.accuracy);
  let mlState = stream.read(ml.accuracy);
  let literalsAt = 0;
  for (let i = 0; i < count; i++) {
    const offsetCode = of.symbols[ofState];
    const matchCode = ml.symbols[mlState];
    const literalCode = ll.symbols[llState];
    if (offsetCode >= offsets.baselines.length) throw badFrame('a sequence reaches back further than a frame is long');
    const offsetValue = offsets.baselines[offsetCode] + stream.read(offsets.bits[offsetCode]);
    const matchLength = matchLengths.baselines[matchCode] + stream.read(matchLengths.bits[matchCode]);
    const literalLength = literalLengths.baselines[literalCode] + stream.read(literalLengths.bits[literalCode]);
    if (i + 1 < count) {
      llState = ll.bases[llState] + stream.read(ll.bits[llState]);
      mlState = ml.bases[mlState] + stream.read(ml.bits[mlState]);
      ofState = of.bases[ofState] + stream.read(of.bits[ofState]);
    }
    if (stream.left < 0 || literalsAt + literalLength > literals.length) throw badFrame('sequences are cut off');
    const offset = offsetOf(repeats, offsetValue, literalLength);
    const to = grow(state, literalLength + matchLength);
    copyBytes(literals, literalsAt, state.out, to, literalLength);
    literalsAt += literalLength;
    const match = to + literalLength;
    if (offset > match || offset === 0) throw badFrame('a sequence refers to what is not there');
    if (offset >= matchLength) copyBytes(state.out, match - offset, state.out, match, matchLength);
    else for (let j = match; j < match + matchLength; j++) state.out[j] = state.out[j - offset];
  }
  if (stream.left !== 0) throw badFrame('sequences have more bits than they need');
  const rest = literals.subarray(literalsAt);
  state.out.set(rest, grow(state, rest.length));
}

/** @param {Uint8Array} from @param {number} at @param {Uint8Array} to @param {number} toAt @param {number} length */
function copyBytes(from, at, to, toAt, length) {
  // Most copies are short, and a loop is quicker than a call for these.
  if (length > 48) to.set(from.subarray(at, at + length), toAt);
  else for (let i = 0; i < length; i++) to[toAt + i] = from[at + i];
}

/** Section 3.1.1.5: the three latest offsets have short names. @param {number[]} repeats @param {number} value @param {number} literalLength */
function offsetOf(repeats, value, literalLength) {
  if (value > 3) {
    repeats[2] = repeats[1];
    repeats[1] = repeats[0];
    repeats[0] = value - 3;
    return repeats[0];
  }
  const which = value - 1 + (literalLength === 0 ? 1 : 0);
  if (which === 0) return repeats[0];
  const offset = which === 3 ? repeats[0] - 1 : repeats[which];
  if (which > 1) repeats[2] = repeats[1];
  repeats[1] = repeats[0];
  repeats[0] = offset;
  return offset;
}

/** Sets one of a block's three tables; returns where its description ends. @param {FrameState} state @param {number} i @param {number} mode @param {CodeKind} kind @param {number} at @param {number} end */
function readTable(state, i, mode, kind, at, end) {
  switch (mode) {
    case 0:
      state.tables[i] = kind.defaults;
      return at;
    case 1:
      if (at >= end || state.bytes[at] >= kind.baselines.length) throw badFrame('a table of states is malformed');
      state.tables[i] = singleState(state.bytes[at]);
      return at + 1;
    case 2: {
      const limits = { accuracyMax: kind.accuracyMax, symbolMax: kind.baselines.length - 1 };
      const { table, next } = readStateTable(state.bytes, at, end, limits);
      state.tables[i] = table;
      return next;
    }
    default:
      if (!state.tables[i]) throw badFrame('a block refers to a table that is not there');
      return at;
  }
}
