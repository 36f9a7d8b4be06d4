/**
 * XXH64 with seed 0, of which zstd keeps the low 32 bits as a frame's checksum
 * (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). 64-bit numbers are pairs of 32-bit halves: BigInt
 * would take longer than decompressing.
 */

/** @typedef {{ hi: number, lo: number }} Wide */

const prime1 = { hi: 0x9e3779b1, lo: 0x85ebca87 };
const prime2 = { hi: 0xc2b2ae3d, lo: 0x27d4eb4f };
const prime3 = { hi: 0x165667b1, lo: 0x9e3779f9 };
const prime4 = { hi: 0x85ebca77, lo: 0xc2b2ae63 };
const prime5 = { hi: 0x27d4eb2f, lo: 0x165667c5 };

/** @param {Wide} x @param {number} hi @param {number} lo */
function add(x, hi, lo) {
  const sum = (x.lo >>> 0) + (lo >>> 0);
  x.hi = (x.hi + hi + (sum > 0xffffffff ? 1 : 0)) | 0;
  x.lo = sum | 0;
}

/** @param {Wide} x @param {Wide} y */
function multiply(x, y) {
  const a = x.lo & 0xffff;
  const b = x.lo >>> 16;
  const c = y.lo & 0xffff;
  const d = y.lo >>> 16;
  // Each of these sums stays below 2^32.
  const low = a * c;
  const middle = b * c + (low >>> 16);
  const other = a * d + (middle & 0xffff);
  const carry = Math.imul(b, d) + (middle >>> 16) + (other >>> 16);
  x.hi = (Math.imul(x.hi, y.lo) + Math.imul(x.lo, y.hi) + carry) | 0;
  x.lo = (other << 16) | (low & 0xffff);
}

/** @param {Wide} x @param {number} bits below 32 */
function rotateLeft(x, bits) {
  const { hi, lo } = x;
  x.hi = (hi << bits) | (lo >>> (32 - bits));
  x.lo = (lo << bits) | (hi >>> (32 - bits));
}

/** @param {Wide} x @param {number} bits below 64 */
function xorShiftRight(x, bits) {
  if (bits >= 32) {
    x.lo ^= x.hi >>> (bits - 32);
    return;
  }
  x.lo ^= (x.lo >>> bits) | (x.hi << (32 - bits));
  x.hi ^= x.hi >>> bits;
}

/** @param {Wide} lane @param {number} hi @param {number} lo */
function round(lane, hi, lo) {
  const input = { hi, lo };
  multiply(input, prime2);
  add(lane, input.hi, input.lo);
  rotateLeft(lane, 31);
  multiply(lane, prime1);
}

/** @param {Wide} hash @param {Wide} lane */
function merge(hash, lane) {
  const mixed = { hi: 0, lo: 0 };
  round(mixed, lane.hi, lane.lo);
  xor(hash, mixed);
  multiply(hash, prime1);
  add(hash, prime4.hi, prime4.lo);
}

/** @param {Wide} x @param {Wide} y */
function xor(x, y) {
  x.hi ^= y.hi;
  x.lo ^= y.lo;
}

/**
 * The low 32 bits of XXH64, unsigned.
 *
 * @param {Uint8Array} bytes
 */
export function xxh64Low(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length;
  let at = 0;
  let hash = { ...prime5 };
  if (length >= 32) {
    const one = { ...prime1 };
    add(one, prime2.hi, prime2.lo);
    const two = { ...prime2 };
    const three = { hi: 0, lo: 0 };
    const four = { hi: ~prime1.hi, lo: ~prime1.lo };
    add(four, 0, 1);
    for (; at + 32 <= length; at += 32) {
      round(one, view.getInt32(at + 4, true), view.getInt32(at, true));
      round(two, view.getInt32(at + 12, true), view.getInt32(at + 8, true));
      round(three, view.getInt32(at + 20, true), view.getInt32(at + 16, true));
      round(four, view.getInt32(at + 28, true), view.getInt32(at + 24, true));
    }
    hash = { hi: 0, lo: 0 };
    const lanes = [one, two, three, four];
    for (const [i, bits] of [1, 7, 12, 18].entries()) {
      const turned = { ...lanes[i] };
      rotateLeft(turned, bits);
      add(hash, turned.hi, turned.lo);
    }
    for (const lane of lanes) merge(hash, lane);
  }
  add(hash, 0, length);
  for (; at + 8 <= length; at += 8) {
    const mixed = { hi: 0, lo: 0 };
    round(mixed, view.getInt32(at + 4, true), view.getInt32(at, true));
    xor(hash, mixed);
    rotateLeft(hash, 27);
    multiply(hash, prime1);
    add(hash, prime4.hi, prime4.lo);
  }
  if (at + 4 <= length) {
    const mixed = { hi: 0, lo: view.getInt32(at, true) };
    multiply(mixed, prime1);
    xor(hash, mixed);
    rotateLeft(hash, 23);
    multiply(hash, prime2);
    add(hash, prime3.hi, prime3.lo);
    at += 4;
  }
  for (; at < length; at++) {
    const mixed = { hi: 0, lo: bytes[at] };
    multiply(mixed, prime5);
    xor(hash, mixed);
    rotateLeft(hash, 11);
    multiply(hash, prime1);
  }
  xorShiftRight(hash, 33);
  multiply(hash, prime2);
  xorShiftRight(hash, 29);
  multiply(hash, prime3);
  xorShiftRight(hash, 32);
  return hash.lo >>> 0;
}
