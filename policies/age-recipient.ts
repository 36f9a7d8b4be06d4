/** Characters of Bech32 (BIP 173) by their value. */
const alphabet = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const generator = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

/** Prefixes of the recipients that sealing can wrap a key for, with the length of what follows in bytes. */
const kinds = new Map([
  ['age', { bytes: 32, name: 'an X25519 recipient' }],
  ['age1pq', { bytes: 1216, name: 'a hybrid post-quantum recipient' }],
]);

/**
 * Why a text is no age recipient, null when it is one. The checksum finds every slip of up to four characters: a point
 * sealed for a mistyped recipient is found out by its validation, but an hour later.
 */
export function recipientProblem(text: string): string | null {
  if (/^AGE-SECRET-KEY-/i.test(text)) {
    return 'this is an identity, the secret half of a key; write its recipient (age1…), and replace the key, for it has been shown';
  }
  if (text !== text.toLowerCase()) return 'an age recipient is all lower case';
  const cut = text.lastIndexOf('1');
  const prefix = text.slice(0, cut);
  const data = [...text.slice(cut + 1)].map((c) => alphabet.indexOf(c));
  if (cut < 1 || data.length < 6 || data.includes(-1)) return 'this is no age recipient: a character is out of place';
  if (checksum(prefix, data) !== 1)
    return 'this is no age recipient: its checksum is wrong, so a character is missing or mistyped';
  const kind = kinds.get(prefix);
  if (!kind) return `recipients of kind "${prefix}" are not supported; use one that age-keygen makes (age1…)`;
  const bytes = Math.floor(((data.length - 6) * 5) / 8);
  return bytes === kind.bytes ? null : `as ${kind.name} it should have ${kind.bytes} bytes, and it has ${bytes}`;
}

/** BIP 173's polynomial over the expanded prefix and the data; 1 when the checksum is right. */
function checksum(prefix: string, data: number[]): number {
  const codes = [...prefix].map((c) => c.charCodeAt(0));
  let value = 1;
  for (const v of [...codes.map((c) => c >> 5), 0, ...codes.map((c) => c & 31), ...data]) {
    const top = value >>> 25;
    value = ((value & 0x1ffffff) << 5) ^ v;
    for (const [i, g] of generator.entries()) if ((top >>> i) & 1) value ^= g;
  }
  return value;
}
