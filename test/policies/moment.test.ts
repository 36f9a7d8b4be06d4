import { describe, expect, test } from '@jest/globals';
import { parseMoment, targetOf } from '../../policies/moment.ts';

describe('a moment that a person writes', () => {
  test.each([
    ['2026-01-02T03:04:05Z', { kind: 'time', at: '2026-01-02T03:04:05Z' }],
    ['2026-01-02 03:04:05.678+01:00', { kind: 'time', at: '2026-01-02T03:04:05.678+01:00' }],
    ['16/B374D848', { kind: 'lsn', lsn: '16/B374D848' }],
    ['xid:1234', { kind: 'xid', xid: 1234 }],
    ['name:before: the release', { kind: 'name', name: 'before: the release' }],
    ['latest', { kind: 'latest' }],
  ])('%s', (text, expected) => {
    expect(parseMoment(text)).toEqual(expected);
  });

  test.each([
    '',
    'yesterday',
    '2026-01-02',
    '2026-01-02T03:04:05',
    '16/',
    '16-B3',
    'xid:',
    'xid:2',
    'xid:4294967296',
    'name:',
    'Latest',
  ])('is refused, and how to write one is said: "%s"', (text) => {
    expect(() => parseMoment(text)).toThrow(
      expect.objectContaining({ type: 'UsageInvalid', next: expect.stringContaining('2026-01-02T03:04:05Z') }),
    );
  });

  test('is planned with its position as a number', () => {
    expect(targetOf({ kind: 'lsn', lsn: '1/10' })).toEqual({ kind: 'lsn', lsn: (1n << 32n) + 16n });
    expect(targetOf({ kind: 'latest' })).toEqual({ kind: 'latest' });
  });
});
