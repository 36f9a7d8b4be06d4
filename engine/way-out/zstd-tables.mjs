import { damaged } from './problem.mjs';

/** zstd's entropy coding: finite-state and Huffman tables, and the bits they are read with (RFC 8878, section 4). */

/** @param {string} what */
export function badFrame(what) {
  return damaged(`a zstd frame is damaged: ${what}`);
}

/** Place of the highest bit that is set; -1 for 0. @param {number} value */
export function highBit(value) {
  return 31 - Math.clz32(value);
}

/**
 * Bits that are read from their end to their beginning. The four bytes after the stream may be anything, but must be
 * there: values are fetched by 32-bit words.
 */
export class BackwardBits {
  /** @param {Uint8Array} bytes @param {number} start @param {number} end */
  constructor(bytes, start, end) {
    const last = end > start ? bytes[end - 1] : 0;
    if (last === 0) throw badFrame('a bit stream has no end mark');
    this.bytes = bytes;
    this.start = start;
    /** Bits that are left; below 0 once more was read than there was. */
    this.left = (end - start - 1) * 8 + highBit(last);
  }

  /** At most 25 bits; zeros where there are none left. @param {number} count */
  read(count) {
    if (count === 0) return 0;
    this.left -= count;
    return this.left >= 0 ? this.peek(this.left, count) : this.beyond(count);
  }

  /** @param {number} position @param {number} count */
  peek(position, count) {
    const { bytes } = this;
    const at = this.start + (position >>> 3);
    const word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    return (word >>> (position & 7)) & ((1 << count) - 1);
  }

  /** What was asked for reaches over the stream's beginning. @param {number} count */
  beyond(count) {
    const there = count + this.left;
    return there > 0 ? this.peek(0, there) << -this.left : 0;
  }
}

/**
 * @typedef {object} StateTable
 * @property {number} accuracy log2 of the number of states
 * @property {Uint8Array} symbols by state
 * @property {Uint8Array} bits to read for the next state
 * @property {Uint16Array} bases the next state without them
 */

/** A table of one state. @param {number} symbol @returns {StateTable} */
export function singleState(symbol) {
  return { accuracy: 0, symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), bases: new Uint16Array(1) };
}

/**
 * From how often each symbol comes; -1 stands for less than once.
 *
 * @param {number[]} counts @param {number} accuracy @returns {StateTable}
 */
export function stateTable(counts, accuracy) {
  const size = 1 << accuracy;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (const [symbol, count] of counts.entries()) {
    if (count !== -1) continue;
    symbols[--high] = symbol;
    next[symbol] = 1;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let position = 0;
  for (const [symbol, count] of counts.entries()) {
    if (count <= 0) continue;
    next[symbol] = count;
    for (let i = 0; i < count; i++) {
      symbols[position] = symbol;
      do position = (position + step) & (size - 1);
      while (position >= high);
    }
  }
  if (position !== 0) throw badFrame('a table of states does not come out even');
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const turn = next[symbols[state]]++;
    bits[state] = accuracy - highBit(turn);
    bases[state] = (turn << bits[state]) - size;
  }
  return { accuracy, symbols, bits, bases };
}

/**
 * Reads a table's description (section 4.1.1).
 *
 * @param {Uint8Array} bytes @param {number} start @param {number} end
 * @param {{ accuracyMax: number, symbolMax: number }} limits
 * @returns {{ table: StateTable, next: number }} and where it ends
 */
export function readStateTable(bytes, start, end, { accuracyMax, symbolMax }) {
  let position = start * 8;
  /** @param {number} count at most 16 */
  const read = (count) => {
    const at = position >>> 3;
    const word = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
    const value = (word >>> (position & 7)) & ((1 << count) - 1);
    position += count;
    return value;
  };
  const accuracy = read(4) + 5;
  if (accuracy > accuracyMax) throw badFrame('a table of states is too large');
  /** @type {number[]} */
  const counts = [];
  let left = 1 << accuracy;
  while (left > 0 && counts.length <= symbolMax) {
    const bits = highBit(left + 1) + 1;
    let value = read(bits);
    // Small values take one bit less, for not all of this length are needed.
    const short = (1 << bits) - 2 - left;
    const low = value & ((1 << (bits - 1)) - 1);
    if (low < short) {
      position--;
      value = low;
    } else if (value >= 1 << (bits - 1)) {
      value -= short;
    }
    const count = value - 1;
    left -= Math.abs(count);
    counts.push(count);
    if (count !== 0) continue;
    let zeros = 0;
    do {
      zeros = read(2);
      for (let i = 0; i < zeros; i++) counts.push(0);
    } while (zeros === 3 && counts.length <= symbolMax);
  }
  const next = (position + 7) >>> 3;
  if (left !== 0 || counts.length > symbolMax + 1 || next > end) throw badFrame('a table of states is malformed');
  return { table: stateTable(counts, accuracy), next };
}

/**
 * @typedef {object} HuffmanTable
 * @property {number} bits of the longest code
 * @property {Uint16Array} codes by the next `bits` bits: the symbol, and above it the bits that it takes
 */

const huffmanBitsMax = 11;
const weightAccuracyMax = 6;

/**
 * Reads a Huffman tree's description (section 4.2.1).
 *
 * @param {Uint8Array} bytes @param {number} start @param {number} end
 * @returns {{ table: HuffmanTable, next: number }} and where it ends
 */
export function readHuffmanTable(bytes, start, end) {
  const head = bytes[start];
  const from = start + 1;
  const next = head < 128 ? from + head : from + ((head - 126) >> 1);
  if (start >= end || next > end) throw badFrame('a Huffman table is cut off');
  /** @type {number[]} */
  let weights = [];
  if (head < 128) weights = readWeights(bytes, from, next);
  else for (let i = 0; i < head - 127; i++) weights.push((bytes[from + (i >> 1)] >> (i % 2 === 0 ? 4 : 0)) & 15);
  return { table: huffmanTable(weights), next };
}

/** @param {Uint8Array} bytes @param {number} start @param {number} end */
function readWeights(bytes, start, end) {
  const { table, next } = readStateTable(bytes, start, end, { accuracyMax: weightAccuracyMax, symbolMax: 255 });
  const stream = new BackwardBits(bytes, next, end);
  // Two states take turns until the bits are used up; then the other one still holds a symbol.
  const states = [stream.read(table.accuracy), stream.read(table.accuracy)];
  /** @type {number[]} */
  const weights = [];
  for (let turn = 0; weights.length < 255; turn ^= 1) {
    const state = states[turn];
    weights.push(table.symbols[state]);
    states[turn] = table.bases[state] + stream.read(table.bits[state]);
    if (stream.left >= 0) continue;
    weights.push(table.symbols[states[turn ^ 1]]);
    return weights;
  }
  throw badFrame('a Huffman table has too many symbols');
}

/** @param {number[]} weights of all symbols but the last, whose weight follows @returns {HuffmanTable} */
function huffmanTable(weights) {
  let sum = 0;
  for (const weight of weights) sum += weight === 0 ? 0 : 2 ** (weight - 1);
  const bits = highBit(sum) + 1;
  const rest = 2 ** bits - sum;
  if (sum === 0 || bits > huffmanBitsMax || (rest & (rest - 1)) !== 0) throw badFrame('a Huffman table is malformed');
  const all = [...weights, highBit(rest) + 1];
  const codes = new Uint16Array(1 << bits);
  // The longest codes, of the smallest weight, come first.
  let at = 0;
  for (let weight = 1; weight <= bits; weight++) {
    for (const [symbol, own] of all.entries()) {
      if (own !== weight) continue;
      const length = 1 << (weight - 1);
      codes.fill(symbol | ((bits + 1 - weight) << 8), at, at + length);
      at += length;
    }
  }
  if (at !== codes.length) throw badFrame('a Huffman table is malformed');
  return { bits, codes };
}

/**
 * Decodes one Huffman stream, which must fill `into` exactly.
 *
 * @param {HuffmanTable} table
 * @param {Uint8Array} bytes @param {number} start @param {number} end
 * @param {Uint8Array} into
 */
export function decodeHuffman({ bits, codes }, bytes, start, end, into) {
  const stream = new BackwardBits(bytes, start, end);
  let { left } = stream;
  let at = 0;
  // While there are enough bits for the longest code, no end has to be looked for.
  for (; at < into.length && left >= bits; at++) {
    const code = codes[stream.peek(left - bits, bits)];
    into[at] = code;
    left -= code >> 8;
  }
  for (; at < into.length; at++) {
    const code = codes[left > 0 ? (stream.peek(0, left) << (bits - left)) & ((1 << bits) - 1) : 0];
    into[at] = code;
    left -= code >> 8;
    if (left < 0) throw badFrame('literals are cut off');
  }
  if (left !== 0) throw badFrame('literals have more bits than symbols');
}
