import { describe, expect, test } from '@jest/globals';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../../../engine/artifact/index.ts';
import { generatePointKey, unwrapKey, wrapKey } from '../../../engine/artifact/keys.ts';
import { failureOf } from './sealing.ts';

async function person() {
  const identity = await generateIdentity();
  return { identity, recipient: await recipientOf(identity) };
}

describe("a point's key", () => {
  test('opens with the identity of any one of its recipients', async () => {
    const [ann, ben] = [await person(), await person()];
    const key = generatePointKey();
    const wrapped = await wrapKey(key, [ann.recipient, ben.recipient]);
    for (const { identity } of [ann, ben]) {
      expect((await unwrapKey(wrapped, `${identity}\n`, [ann.recipient, ben.recipient])).equals(key)).toBe(true);
    }
  });

  test("does not open with a stranger's identity, and says whose would do", async () => {
    const [ann, eve] = [await person(), await person()];
    const wrapped = await wrapKey(generatePointKey(), [ann.recipient]);
    const failure = await failureOf(unwrapKey(wrapped, eve.identity, [ann.recipient]));
    expect(failure.type).toBe('KeyWrong');
    expect(failure.message).toContain(ann.recipient);
    expect(failure.message).not.toContain(eve.identity);
  });

  test('is refused as damaged when a byte of it was changed, wherever that is', async () => {
    const ann = await person();
    const wrapped = await wrapKey(generatePointKey(), [ann.recipient]);
    for (let at = 0; at < wrapped.length; at += 7) {
      const changed = Buffer.from(wrapped);
      changed[at] = (changed[at] ?? 0) ^ 0x41;
      expect(await failureOf(unwrapKey(changed, ann.identity, [ann.recipient]))).toMatchObject({ type: 'Corrupt' });
    }
    expect(await failureOf(unwrapKey(wrapped.subarray(0, -1), ann.identity, [ann.recipient]))).toMatchObject({
      type: 'Corrupt',
    });
  });

  test('is refused as damaged when it opens but is no key', async () => {
    const ann = await person();
    const wrapped = await wrapKey(Buffer.alloc(5), [ann.recipient]);
    expect(await failureOf(unwrapKey(wrapped, ann.identity, [ann.recipient]))).toMatchObject({ type: 'Corrupt' });
  });

  test('is not wrapped for nobody, nor for what is no recipient, and an identity put there is not printed', async () => {
    const ann = await person();
    expect(await failureOf(wrapKey(generatePointKey(), []))).toMatchObject({ type: 'PolicyInvalid' });
    expect(await failureOf(wrapKey(generatePointKey(), ['age1nonsense']))).toMatchObject({
      type: 'PolicyInvalid',
      message: expect.stringContaining('age1nonsense'),
    });
    const failure = await failureOf(wrapKey(generatePointKey(), [ann.identity]));
    expect(failure.type).toBe('PolicyInvalid');
    expect(failure.message).not.toContain(ann.identity.slice(0, 30));
  });

  test('is told from a text that is no identity', async () => {
    const ann = await person();
    const wrapped = await wrapKey(generatePointKey(), [ann.recipient]);
    const failure = await failureOf(unwrapKey(wrapped, 'secret words', [ann.recipient]));
    expect(failure.type).toBe('KeyWrong');
    expect(failure.message).not.toContain('secret words');
  });
});

describe('a signing key', () => {
  test('is read from PEM, and has a public key of 32 bytes', () => {
    const key = readSigningKey(generateSigningKey());
    expect(Buffer.from(publicKeyOf(key), 'base64')).toHaveLength(32);
  });

  test('that is none is refused, without quoting it', async () => {
    const failure = await failureOf(() => readSigningKey('-----BEGIN nonsense'));
    expect(failure.type).toBe('KeyWrong');
    expect(failure.message).not.toContain('nonsense');
  });
});
