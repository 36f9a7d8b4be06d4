import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { duration, durationSeconds } from '../../policies/duration.ts';
import { policySchema } from '../../policies/policy.ts';
import { policyOf, recipient } from './policies.ts';

describe('durations', () => {
  test.each([
    ['90s', 90],
    ['15m', 900],
    ['4h', 14_400],
    ['7d', 604_800],
  ])('%s are %d seconds', (text, seconds) => {
    expect(duration.parse(text)).toBe(text);
    expect(durationSeconds(text)).toBe(seconds);
  });

  test.each(['', '5', 'm', '0m', '-1h', '1.5h', '1 h', '1w', '1H', '01h', '1h30m', '1000000s'])(
    '"%s" is none',
    (text) => {
      expect(duration.safeParse(text).success).toBe(false);
    },
  );

  test('are the number times the unit, whatever the number', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999 }), (n) => {
        expect(durationSeconds(duration.parse(`${n}s`))).toBe(n);
        expect(durationSeconds(duration.parse(`${n}d`))).toBe(n * 24 * durationSeconds('1h'));
      }),
    );
  });
});

describe('a policy', () => {
  test('needs little; the rest has defaults', () => {
    expect(policyOf()).toMatchObject({
      limits: { backupSlots: 3, leaseTimeout: '60s', validationTimeout: '30m' },
      temporal: { address: '127.0.0.1:7233' },
      sources: [],
      notifications: [],
      copies: [{ medium: 'disk' }, { medium: 'object-storage', storageClass: 'STANDARD_IA', sse: 'AES256' }],
    });
  });

  test('that says one limit keeps the defaults of the others', () => {
    expect(policyOf({ limits: { backupSlots: 5 } }).limits).toEqual({
      backupSlots: 5,
      leaseTimeout: '60s',
      validationTimeout: '30m',
    });
  });

  test('is the same when what was read is read again', () => {
    const policy = policyOf({ sources: [{ kind: 'files', name: 'a', path: '/srv/a' }] });
    expect(policySchema.parse(policy)).toEqual(policy);
  });

  test.each([
    ['a name with capitals', { sources: [{ kind: 'files', name: 'Documents', path: '/srv' }] }],
    ['a name that would leave its folder', { sources: [{ kind: 'files', name: '../etc', path: '/srv' }] }],
    ['a name of 64 letters', { sources: [{ kind: 'files', name: 'a'.repeat(64), path: '/srv' }] }],
    ['a relative path', { staging: { path: 'staging' } }],
    ['a secret in clear text', { catalog: { dsn: 'postgresql://me:secret@db/catalog' } }],
    ['a reference to nothing', { catalog: { dsn: 'file:' } }],
    ['no copy', { copies: [] }],
    ['no recipient', { keys: { recipients: [], signing: 'env:A', trusted: ['x'], identity: 'env:B' } }],
    ['no trusted key', { keys: { recipients: [recipient], signing: 'env:A', trusted: [], identity: 'env:B' } }],
    ['a key that nobody knows', { copys: [] }],
    ['another version', { version: 2 }],
  ])('is refused with %s', (_what, replaced) => {
    expect(() => policyOf(replaced)).toThrow();
  });
});
