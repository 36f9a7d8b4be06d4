import { describe, expect, test } from '@jest/globals';
import {
  generateSigningKey,
  parseBackupJson,
  parseSealedJson,
  publicKeyOf,
  readSigningKey,
  signBackupJson,
} from '../../../engine/artifact/index.ts';
import type { SealedPoint, Validation } from '../../../policies/recovery-point.ts';
import { failureOf } from './sealing.ts';

const sealed: SealedPoint = {
  format: 'backup-coordinator/1',
  id: 'shop-1',
  source: { name: 'shop', kind: 'files', host: 'local' },
  level: 'full',
  parent: null,
  classes: ['daily'],
  startedAt: '2026-01-02T03:04:05.000Z',
  capturedAt: '2026-01-02T03:04:05.000Z',
  sealedAt: '2026-01-02T03:05:05.000Z',
  content: { format: 'pax-tar', bytes: 10, sourceBytes: 5, entries: 1, unstable: 0 },
  facts: { path: '/srv/shöp', peak: 1_000_000, open: true, none: null },
  objects: [{ role: 'artifact', name: 'data.tar.zst.tink', bytes: 100, sha256: 'a'.repeat(64) }],
  compression: { scheme: 'zstd', level: 3 },
  encryption: { scheme: 'tink-streaming-aead/AES256_GCM_HKDF_1MB', recipients: ['age1abc'], keyCheck: 'b'.repeat(64) },
  software: 'backup-coordinator 0.1.0',
};
const validation: Validation = { finishedAt: '2026-01-02T03:06:05.000Z', passed: true, checks: [] };
const key = readSigningKey(generateSigningKey());
const trusted = [publicKeyOf(key)];
const text = signBackupJson({ ...sealed, validation }, key);

const parse = (bytes: string | Uint8Array, keys = trusted) => failureOf(() => parseBackupJson(bytes, keys));

describe('backup.json', () => {
  test('reads back as it was signed, and is text for people', () => {
    expect(parseBackupJson(text, ['AAAA', ...trusted])).toMatchObject({ ...sealed, validation });
    expect(text).toMatch(/^\{\n {2}"format": "backup-coordinator\/1",\n/);
    expect(text.endsWith('}\n')).toBe(true);
  });

  test('verifies however it is laid out, for its canonical form is what is signed', () => {
    const { format, ...rest } = JSON.parse(text);
    expect(parseBackupJson(JSON.stringify({ ...rest, format }), trusted).id).toBe('shop-1');
  });

  test('is refused when any value in it was changed', async () => {
    for (const [from, to] of [
      ['"bytes": 100', '"bytes": 101'],
      ['aaa"', 'aab"'],
      ['2026-01-02T03:06:05.000Z', '2026-01-02T03:06:06.000Z'],
      ['"parent": null', '"parent": "shop-0"'],
      ['shöp', 'shop'],
    ] as const) {
      expect(text).toContain(from);
      expect(await parse(text.replace(from, to))).toMatchObject({ type: 'SignatureInvalid' });
    }
  });

  test('is refused when the key that signed it is not trusted, and says which one did', async () => {
    const other = readSigningKey(generateSigningKey());
    const forged = signBackupJson({ ...sealed, validation }, other);
    expect(await parse(forged)).toMatchObject({
      type: 'SignatureInvalid',
      message: expect.stringContaining(publicKeyOf(other)),
    });
    expect(await parse(text, [])).toMatchObject({ type: 'SignatureInvalid' });
  });

  test('is refused when it claims a trusted key but was signed by another', async () => {
    const forged = signBackupJson({ ...sealed, validation }, readSigningKey(generateSigningKey()));
    const claim = JSON.parse(forged);
    claim.signature.publicKey = trusted[0];
    expect(await parse(JSON.stringify(claim))).toMatchObject({ type: 'SignatureInvalid' });
  });

  test('with a signature that is written otherwise, though it decodes to the same bytes, is refused', async () => {
    const { signature } = JSON.parse(text);
    // Of the last character before the padding, four bits stand for nothing.
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const at = signature.value.length - 3;
    const other =
      signature.value.slice(0, at) + last[last.indexOf(signature.value[at]) + 1] + signature.value.slice(at + 1);
    expect(Buffer.from(other, 'base64').equals(Buffer.from(signature.value, 'base64'))).toBe(true);
    expect(await parse(text.replace(signature.value, other))).toMatchObject({ type: 'SignatureInvalid' });
  });

  test('of a newer format is told from a damaged one', async () => {
    expect(await parse(text.replace('coordinator/1', 'coordinator/2'))).toMatchObject({ type: 'FormatUnsupported' });
  });

  const damaged = {
    'is cut off': text.slice(0, -20),
    'is empty': '',
    'is not UTF-8': Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xff), Buffer.from('"}')]),
    'is another document': '{"hello":1}',
    'is null': 'null',
    'says a thing twice': text.replace('  "level"', '  "level": "incremental",\n  "level"'),
    'writes a number otherwise': text.replace(/"bytes": (\d+)/, '"bytes": $1.0'),
    'is nested without end': `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`,
    'has a field more': text.replace('"level"', '"extra": 1,\n  "level"'),
    'lacks its signature': JSON.stringify({ ...sealed, validation }),
  };
  for (const [name, bytes] of Object.entries(damaged)) {
    test(`that ${name} is damaged`, async () => {
      expect(await parse(bytes)).toMatchObject({ type: 'Corrupt', message: expect.stringContaining('backup.json') });
    });
  }
});

test('sealed.json of a staged point is read with the same care', async () => {
  expect(parseSealedJson(JSON.stringify(sealed))).toEqual(sealed);
  expect(await failureOf(() => parseSealedJson('{'))).toMatchObject({ type: 'Corrupt' });
});
