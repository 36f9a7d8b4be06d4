import { sign, verify } from 'node:crypto';
import canonicalizeModule from 'canonicalize';
import { publicKeyFrom, publicKeyOf, type SigningKey } from './keys.ts';

/** Ed25519 over the RFC 8785 canonical form of a document without its signature. */
interface Signature {
  algorithm: 'ed25519';
  /** Raw 32 bytes, base64. */
  publicKey: string;
  value: string;
}

/** The bytes that are signed. */
function canonicalBytes(document: object): Buffer {
  const text = canonicalizeModule(document);
  if (text === undefined) throw new TypeError('a document without content cannot be signed');
  return Buffer.from(text);
}

export function signatureOf(document: object, key: SigningKey): Signature {
  const value = sign(null, canonicalBytes(document), key).toString('base64');
  return { algorithm: 'ed25519', publicKey: publicKeyOf(key), value };
}

/** Whether the signature is that of the document by the key it names. Whether that key is trusted is another matter. */
export function verifies(document: object, { publicKey, value }: Signature): boolean {
  const bytes = Buffer.from(value, 'base64');
  // Decoders overlook what does not belong there: only the one way of writing it counts, so that no bit can be changed.
  if (bytes.toString('base64') !== value) return false;
  try {
    return verify(null, canonicalBytes(document), publicKeyFrom(publicKey), bytes);
  } catch {
    // The key itself is none.
    return false;
  }
}
