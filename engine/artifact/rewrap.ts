import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import * as age from 'age-encryption';
import { wrapKey } from './keys.ts';

/**
 * Keys that were wrapped anew (docs/format.md, section 3). backup.json, which is signed, does not know of them, so each
 * says itself whom it is for, in a stanza of its own that age and its kin pass over. Its body is the age file's own key,
 * encrypted under the point's key: whoever opens the point by any other of its keys can tell that it is genuine.
 */

const stanzaType = 'backup-coordinator/recipients';
const nonceBytes = 12;
const tagBytes = 16;

/** Wraps the point's key for these recipients. Throws PolicyInvalid as wrapKey. */
export function rewrapKey(key: Uint8Array, pointId: string, recipients: string[]): Promise<Uint8Array> {
  return wrapKey(key, recipients, {
    wrapFileKey(fileKey) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', stanzaKey(key, pointId), nonce);
      const sealed = Buffer.concat([cipher.update(fileKey), cipher.final()]);
      return [new age.Stanza([stanzaType, ...recipients], Buffer.concat([nonce, sealed, cipher.getAuthTag()]))];
    },
  });
}

/** Whether it is this very key that was wrapped anew, by somebody who knew it, for whom its header says. */
export async function isRewrapOf(wrapped: Uint8Array, key: Uint8Array, pointId: string): Promise<boolean> {
  const decrypter = new age.Decrypter();
  const identity: age.Identity = {
    unwrapFileKey: (stanzas) => fileKeyOf(stanzas.find(({ args }) => args[0] === stanzaType)?.body, key, pointId),
  };
  decrypter.addIdentity(identity);
  try {
    return (await decrypter.decrypt(wrapped, 'text')).trim() === Buffer.from(key).toString('hex');
  } catch {
    // Whatever is wrong with it: it is none.
    return false;
  }
}

function fileKeyOf(body: Uint8Array | undefined, key: Uint8Array, pointId: string): Uint8Array | null {
  if (body === undefined || body.length <= nonceBytes + tagBytes) return null;
  const sealed = body.subarray(nonceBytes, -tagBytes);
  const decipher = createDecipheriv('aes-256-gcm', stanzaKey(key, pointId), body.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAuthTag(body.subarray(-tagBytes));
  return Buffer.concat([decipher.update(sealed), decipher.final()]);
}

function stanzaKey(key: Uint8Array, pointId: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', `${pointId}/rewrap`, 32));
}

/** What the header of a wrapped key says, unproven; null when it is no age file. */
export interface KeyHeader {
  /** Whom it says it is for; empty when it does not say, or not of as many as it is wrapped for. */
  recipients: string[];
  /** How many it is wrapped for. */
  stanzas: number;
}

export function readKeyHeader(wrapped: Uint8Array): KeyHeader | null {
  const text = Buffer.from(wrapped).toString('latin1');
  // The header ends at the line of its MAC (age-encryption.org/v1).
  const end = text.indexOf('\n--- ');
  if (!text.startsWith('age-encryption.org/v1\n') || end < 0) return null;
  const lines = text.slice(0, end).split('\n');
  const stanzas = lines.filter((line) => line.startsWith('-> X25519 ')).length;
  const said = lines.find((line) => line.startsWith(`-> ${stanzaType} `))?.split(' ');
  const recipients = said?.slice(2) ?? [];
  // Whoever may write into a store may write anything here, and it is shown to people.
  const isPlain = recipients.every((name) => /^age1[0-9a-z]{1,100}$/.test(name));
  return { recipients: isPlain && recipients.length === stanzas ? recipients : [], stanzas };
}
