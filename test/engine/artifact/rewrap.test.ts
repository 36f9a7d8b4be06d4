import { beforeAll, describe, expect, test } from '@jest/globals';
import { generateIdentity, isRewrapOf, recipientOf, rewrapKey } from '../../../engine/artifact/index.ts';
import { generatePointKey, unwrapKey, wrapKey } from '../../../engine/artifact/keys.ts';
import { readKeyHeader } from '../../../engine/artifact/rewrap.ts';
import { failureOf } from './sealing.ts';

const key = generatePointKey();
let ann: { identity: string; recipient: string };
let ben: { identity: string; recipient: string };
let wrapped: Uint8Array;

beforeAll(async () => {
  const [one = '', two = ''] = [await generateIdentity(), await generateIdentity()];
  ann = { identity: one, recipient: await recipientOf(one) };
  ben = { identity: two, recipient: await recipientOf(two) };
  wrapped = await rewrapKey(key, 'shop-1', [ann.recipient, ben.recipient]);
});

describe('a key that was wrapped anew', () => {
  test('opens with the identity of each of its recipients, and says who they are', async () => {
    for (const { identity } of [ann, ben]) expect((await unwrapKey(wrapped, identity, [])).equals(key)).toBe(true);
    expect(readKeyHeader(wrapped)).toEqual({ recipients: [ann.recipient, ben.recipient], stanzas: 2 });
  });

  test('opens where several identities are at hand, one a line, with comments', async () => {
    const stranger = await generateIdentity();
    const text = `# of the past\n${stranger}\n\n# of today\n${ben.identity}\n`;
    expect((await unwrapKey(wrapped, text, [])).equals(key)).toBe(true);
    const failure = await failureOf(unwrapKey(wrapped, `${stranger}\n`, [ann.recipient]));
    expect(failure).toMatchObject({ type: 'KeyWrong', message: expect.stringContaining(ann.recipient) });
  });

  test('is known as genuine by whoever has the key of the point, without an identity', async () => {
    expect(await isRewrapOf(wrapped, key, 'shop-1')).toBe(true);
    expect(await isRewrapOf(wrapped, generatePointKey(), 'shop-1')).toBe(false);
    expect(await isRewrapOf(wrapped, key, 'shop-2')).toBe(false);
    expect(await isRewrapOf(await wrapKey(key, [ann.recipient]), key, 'shop-1')).toBe(false);
  });

  test('is no longer genuine when any byte of it was changed', async () => {
    const passed: number[] = [];
    for (let at = 0; at < wrapped.length; at += 3) {
      const changed = Buffer.from(wrapped);
      changed[at] = (changed[at] ?? 0) ^ 0x21;
      if (await isRewrapOf(changed, key, 'shop-1')) passed.push(at);
    }
    expect(passed).toEqual([]);
  });

  test('is not believed to be for others by an exchange of names, nor by a header taken from another one', async () => {
    const text = Buffer.from(wrapped).toString('latin1');
    const renamed = Buffer.from(text.replaceAll(ann.recipient, ben.recipient), 'latin1');
    expect(await isRewrapOf(renamed, key, 'shop-1')).toBe(false);
    const other = Buffer.from(await rewrapKey(key, 'shop-1', [ben.recipient])).toString('latin1');
    const spliced = text.slice(0, text.indexOf('\n---')) + other.slice(other.indexOf('\n---'));
    expect(await isRewrapOf(Buffer.from(spliced, 'latin1'), key, 'shop-1')).toBe(false);
  });

  test.each([
    ['nothing', ''],
    ['no age file', 'hello'],
    ['a header without an end', 'age-encryption.org/v1\n-> X25519 x\ny\n'],
  ])('is told from %s', async (_what, text) => {
    expect(readKeyHeader(Buffer.from(text))).toBeNull();
    expect(await isRewrapOf(Buffer.from(text), key, 'shop-1')).toBe(false);
  });

  test('says nothing to people that is no recipient', () => {
    const header = (says: string) =>
      `age-encryption.org/v1\n-> X25519 a\nb\n-> backup-coordinator/recipients ${says}\nc\n--- mac\n`;
    expect(readKeyHeader(Buffer.from(header(ann.recipient)))?.recipients).toEqual([ann.recipient]);
    for (const says of ['\u001b[2J', 'age1x age1y', `age1${'x'.repeat(5000)}`])
      expect(readKeyHeader(Buffer.from(header(says)))?.recipients).toEqual([]);
  });
});
