import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import * as age from 'age-encryption';
import { Failure } from '../../policies/failure.ts';

/** A fresh key for one recovery point: 32 random bytes. */
export function generatePointKey(): Buffer {
  return randomBytes(32);
}

/**
 * What backup.json says of the key without telling it. Anyone can wrap a key for a public recipient; only the point's
 * own key yields the value that was signed.
 */
export function keyCheckOf(key: Uint8Array, pointId: string): string {
  return Buffer.from(hkdfSync('sha256', key, '', `${pointId}/key`, 32)).toString('hex');
}

/**
 * Wraps the key for age recipients. The plaintext is 64 lower-case hex digits and a newline (docs/format.md).
 * Throws PolicyInvalid when there is no recipient, or one is not an age recipient.
 *
 * @param also a recipient of another kind, whose stanza comes last
 */
export async function wrapKey(key: Uint8Array, recipients: string[], also?: age.Recipient): Promise<Uint8Array> {
  const encrypter = new age.Encrypter();
  if (recipients.length === 0) throw badRecipients('it names nobody');
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (error) {
      // An identity that was put here by mistake must not be printed.
      const shown = recipient.startsWith('age1') ? recipient : `an entry that does not begin with "age1"`;
      throw badRecipients(`${shown} is not an age recipient`, error);
    }
  }
  if (also) encrypter.addRecipient(also);
  return encrypter.encrypt(`${Buffer.from(key).toString('hex')}\n`);
}

/** age identities in the text of a file: one a line, with comments. */
function identitiesIn(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#'));
}

/**
 * Unwraps a point's key. Throws KeyWrong when the identity is not among the recipients, Corrupt when the object is
 * not what was written.
 *
 * @param identity AGE-SECRET-KEY-1…, or several, one a line
 * @param recipients named in the error, so that a person knows which identity to look for
 */
export async function unwrapKey(wrapped: Uint8Array, identity: string, recipients: string[]): Promise<Buffer> {
  const own = await recipientsOf(identity);
  const decrypter = new age.Decrypter();
  for (const one of identitiesIn(identity)) decrypter.addIdentity(one);
  let text: string;
  try {
    text = await decrypter.decrypt(wrapped, 'text');
  } catch (error) {
    if (recipients.some((r) => own.includes(r))) throw corruptKey(error);
    throw wrongIdentity(own, recipients, error);
  }
  if (!/^[0-9a-f]{64}\n$/.test(text)) throw corruptKey(undefined);
  return Buffer.from(text.trim(), 'hex');
}

/** Says whose identity was given, and whose is needed. */
export function wrongIdentity(own: string[], recipients: string[], cause?: unknown): Failure {
  const needed = recipients.length === 0 ? 'somebody whom it does not name' : recipients.join(', ');
  return new Failure(
    'KeyWrong',
    `The identity of ${own.join(', ')} does not open this point; it is sealed for ${needed}.`,
    {
      next: 'Use the identity of one of those recipients.',
      cause,
    },
  );
}

function badRecipients(what: string, cause?: unknown): Failure {
  return new Failure('PolicyInvalid', `keys.recipients cannot be used: ${what}.`, {
    next: 'Name the public recipients (age1…) that "age-keygen -y" prints for your identities.',
    cause,
  });
}

function corruptKey(cause: unknown): Failure {
  return new Failure('Corrupt', 'The wrapped key of this point is damaged.', {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
    cause,
  });
}

/** A new age identity, AGE-SECRET-KEY-1…. */
export function generateIdentity(): Promise<string> {
  return age.generateX25519Identity();
}

/** The public recipient (age1…) of an identity. */
export function recipientOf(identity: string): Promise<string> {
  return age.identityToRecipient(identity.trim());
}

/** The public recipients of one identity, or of several, one a line. Throws KeyWrong, without quoting what is none. */
export async function recipientsOf(identities: string): Promise<string[]> {
  try {
    const found = await Promise.all(identitiesIn(identities).map(recipientOf));
    if (found.length > 0) return found;
  } catch {
    // Said below: the reason that is given may quote the input.
  }
  throw new Failure('KeyWrong', 'The identity given is not an age identity (AGE-SECRET-KEY-1…).', {
    next: 'Correct keys.identity in the policy file, or what it refers to.',
  });
}

export type SigningKey = KeyObject;

/** A new Ed25519 signing key, PEM (PKCS #8). */
export function generateSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Reads a signing key. Throws KeyWrong when it is not an Ed25519 private key in PEM. */
export function readSigningKey(pem: string): SigningKey {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Said below: the reason OpenSSL gives may quote the input.
  }
  throw new Failure('KeyWrong', 'The signing key is not an Ed25519 private key in PEM (PKCS #8).', {
    next: 'Make one with "openssl genpkey -algorithm ed25519", and name the file in keys.signing.',
  });
}

/** The raw 32-byte public key, base64, as it stands in `keys.trusted` and in a signature. */
export function publicKeyOf(key: SigningKey): string {
  const jwk = createPublicKey(key).export({ format: 'jwk' });
  return Buffer.from(String(jwk.x), 'base64url').toString('base64');
}

/** The other way round, for verifying. */
export function publicKeyFrom(raw: string): KeyObject {
  const x = Buffer.from(raw, 'base64').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}
