import { createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto';
import { damaged, Problem } from './problem.mjs';

/** Opens small age files (https://age-encryption.org/v1) with X25519 identities. */

/** @typedef {{ secret: import('node:crypto').KeyObject, public: Buffer, recipient: string }} Identity */

const versionLine = 'age-encryption.org/v1';
const chunkTagBytes = 16;
const shareBytes = 32;
const fileKeyBytes = 16;
const nonceBytes = 16;
const chunkBytes = 64 * 1024;
/** What precedes the 32 raw bytes in DER (RFC 8410). */
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
const publicPrefix = Buffer.from('302a300506032b656e032100', 'hex');

/**
 * Identities from the text of a file, one a line, with comments.
 *
 * @param {string} text
 * @param {string} file for messages
 * @returns {Identity[]}
 */
export function readIdentities(text, file) {
  if (text.startsWith(versionLine) || text.startsWith('-----BEGIN AGE')) {
    throw new Problem('usage', `${file} is itself encrypted.`, `Decrypt it first: age -d ${file} > identity.txt`);
  }
  const lines = text.split('\n').map((line) => line.trim());
  const found = lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => identityOf(line, file));
  if (found.length > 0) return found;
  throw new Problem('usage', `${file} holds no age identity (AGE-SECRET-KEY-1…).`);
}

/** @param {string} line @param {string} file @returns {Identity} */
function identityOf(line, file) {
  if (!line.startsWith('AGE-SECRET-KEY-1')) {
    throw new Problem(
      'usage',
      `${file} holds something else than identities of the form AGE-SECRET-KEY-1….`,
      'For a plugin, unwrap the key with the age command: age -d -i IDENTITY key.1.age > point.key, and give --key point.key',
    );
  }
  const decoded = decodeBech32(line.toLowerCase());
  if (decoded?.prefix !== 'age-secret-key-' || decoded.bytes.length !== shareBytes)
    throw new Problem('usage', `An identity in ${file} is misspelt.`, 'Compare it with another copy of the file.');
  const secret = createPrivateKey({ key: Buffer.concat([privatePrefix, decoded.bytes]), format: 'der', type: 'pkcs8' });
  const raw = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(publicPrefix.length);
  return { secret, public: raw, recipient: encodeBech32('age', raw) };
}

/**
 * The plaintext of an age file; null when none of the identities is among its recipients.
 *
 * @param {Buffer} file @param {Identity[]} identities @param {string} name for messages
 * @returns {Buffer | null}
 */
export function openAge(file, identities, name) {
  const { stanzas, signed, mac, body } = parseHeader(file, name);
  for (const identity of identities) {
    for (const stanza of stanzas) {
      const fileKey = unwrap(stanza, identity);
      if (!fileKey) continue;
      const expected = createHmac('sha256', derive(fileKey, '', 'header'))
        .update(signed)
        .digest();
      if (!expected.equals(mac)) throw damaged(`${name} is damaged: its header was changed.`);
      return openBody(body, fileKey, name);
    }
  }
  return null;
}

/**
 * Whom a key that was wrapped anew says it is for (docs/format.md, section 3); none where it does not say.
 *
 * @param {Buffer} file
 */
export function recipientsNamedIn(file) {
  const [header = ''] = file.toString('latin1').split('\n--- ');
  const line = header.split('\n').find((l) => l.startsWith('-> backup-coordinator/recipients '));
  return (line ?? '').split(' ').filter((word) => /^age1[0-9a-z]{1,100}$/.test(word));
}

/** @typedef {{ args: string[], body: Buffer }} Stanza */

/** @param {Buffer} file @param {string} name */
function parseHeader(file, name) {
  const bad = () => damaged(`${name} is damaged: it is no age file.`);
  const lines = file
    .subarray(0, 256 * 1024)
    .toString('latin1')
    .split('\n');
  if (lines[0] !== versionLine) throw bad();
  /** @type {Stanza[]} */
  const stanzas = [];
  for (let i = 1; i < lines.length; ) {
    if (lines[i].startsWith('--- ')) {
      const before = lines.slice(0, i).join('\n').length + 1;
      const mac = Buffer.from(lines[i].slice(4), 'base64');
      return { stanzas, signed: file.subarray(0, before + 3), mac, body: file.subarray(before + lines[i].length + 1) };
    }
    if (!lines[i].startsWith('-> ')) throw bad();
    const args = lines[i++].slice(3).split(' ');
    let text = '';
    // A body ends with a line that is not full, be it an empty one.
    for (let full = true; full && i < lines.length; i++) {
      text += lines[i];
      full = lines[i].length === 64;
    }
    stanzas.push({ args, body: Buffer.from(text, 'base64') });
  }
  throw bad();
}

/** The file key, when the stanza is for this identity. @param {Stanza} stanza @param {Identity} identity */
function unwrap({ args, body }, identity) {
  const share = Buffer.from(args[1] ?? '', 'base64');
  if (args[0] !== 'X25519' || share.length !== shareBytes || body.length !== fileKeyBytes + chunkTagBytes) return null;
  let secret;
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([publicPrefix, share]), format: 'der', type: 'spki' });
    secret = diffieHellman({ privateKey: identity.secret, publicKey });
  } catch {
    // A share of low order: nobody's.
    return null;
  }
  const key = derive(secret, Buffer.concat([share, identity.public]), `${versionLine}/X25519`);
  return openChunk(body, key, Buffer.alloc(12));
}

/** @param {Buffer} body @param {Buffer} fileKey @param {string} name */
function openBody(body, fileKey, name) {
  const key = derive(fileKey, body.subarray(0, nonceBytes), 'payload');
  /** @type {Buffer[]} */
  const plain = [];
  const sealed = chunkBytes + chunkTagBytes;
  for (let at = nonceBytes, i = 0; ; at += sealed, i++) {
    const last = at + sealed >= body.length;
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(i, 7);
    nonce[11] = last ? 1 : 0;
    const chunk = openChunk(body.subarray(at, at + sealed), key, nonce);
    if (!chunk) throw damaged(`${name} is damaged: it does not decrypt.`);
    plain.push(chunk);
    if (last) return Buffer.concat(plain);
  }
}

/** @param {Buffer} sealed @param {Buffer} key @param {Buffer} nonce */
function openChunk(sealed, key, nonce) {
  if (sealed.length < chunkTagBytes) return null;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: chunkTagBytes });
  decipher.setAuthTag(sealed.subarray(-chunkTagBytes));
  const plain = decipher.update(sealed.subarray(0, -chunkTagBytes));
  try {
    decipher.final();
    return plain;
  } catch {
    return null;
  }
}

/** @param {Buffer} key @param {Buffer | string} salt @param {string} info */
function derive(key, salt, info) {
  return Buffer.from(hkdfSync('sha256', key, salt, info, 32));
}

const alphabet = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

/** @param {number[]} values */
function polymod(values) {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (const [i, generator] of generators.entries()) if ((top >> i) & 1) sum ^= generator;
  }
  return sum;
}

/** @param {string} prefix */
function expand(prefix) {
  const codes = [...Buffer.from(prefix)];
  return [...codes.map((c) => c >> 5), 0, ...codes.map((c) => c & 31)];
}

/** Bech32 (BIP 173) without its limit of length; null when it is none. @param {string} text */
function decodeBech32(text) {
  const end = text.lastIndexOf('1');
  const prefix = text.slice(0, end);
  const values = [...text.slice(end + 1)].map((c) => alphabet.indexOf(c));
  if (end < 1 || values.length < 6 || values.includes(-1) || polymod([...expand(prefix), ...values]) !== 1) return null;
  const bytes = regroup(values.slice(0, -6), 5, 8);
  return { prefix, bytes: Buffer.from(bytes.slice(0, Math.floor(((values.length - 6) * 5) / 8))) };
}

/** @param {string} prefix @param {Uint8Array} bytes */
function encodeBech32(prefix, bytes) {
  const values = regroup([...bytes], 8, 5);
  const sum = polymod([...expand(prefix), ...values, 0, 0, 0, 0, 0, 0]) ^ 1;
  const check = [25, 20, 15, 10, 5, 0].map((shift) => (sum >>> shift) & 31);
  return `${prefix}1${[...values, ...check].map((v) => alphabet[v]).join('')}`;
}

/** Groups of bits of one width as groups of another; the last one is filled up with zeros. @param {number[]} values @param {number} from @param {number} to */
function regroup(values, from, to) {
  /** @type {number[]} */
  const out = [];
  let held = 0;
  let bits = 0;
  for (const value of values) {
    held = (held << from) | value;
    bits += from;
    for (; bits >= to; bits -= to) {
      out.push((held >>> (bits - to)) & ((1 << to) - 1));
    }
    held &= (1 << bits) - 1;
  }
  if (bits > 0) out.push((held << (to - bits)) & ((1 << to) - 1));
  return out;
}
