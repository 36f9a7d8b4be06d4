import { describe, expect, test } from '@jest/globals';
import { checkPolicy } from '../../policies/cross-check.ts';
import { policyOf, recipient } from './policies.ts';

const secondRecipient = 'age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj';
const trusted = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';
const keys = (more: object = {}) => ({
  recipients: [recipient, secondRecipient],
  signing: 'env:SIGNING',
  trusted: [trusted],
  identity: 'env:IDENTITY',
  ...more,
});
const server = { kind: 'directory', name: 'server', region: 'us-east-1', path: '/srv/backup' };
const west = { kind: 's3', name: 'west', region: 'us-west-2', bucket: 'backup-west', lock: {} };
const files = (more: object = {}) => ({ kind: 'files', name: 'files', path: '/srv/files', ...more });

/** `severity path: text` of everything found in a policy that is good but for what is replaced. */
function findings(replaced: Record<string, unknown> = {}): string[] {
  const policy = policyOf({ keys: keys(), copies: [server, west], ...replaced });
  return checkPolicy(policy).map((f) => `${f.severity} ${f.path.join('.')}: ${f.text}`);
}

test('nothing is found in a good policy', () => {
  expect(findings({ sources: [files()] })).toEqual([]);
});

describe('names', () => {
  test('may not be used twice in a list; the second is the wrong one', () => {
    expect(findings({ sources: [files(), files({ path: '/srv/other' })] })).toEqual([
      'error sources.1.name: sources[0] is named "files" already',
    ]);
    expect(findings({ copies: [server, west, { ...west, bucket: 'other' }] })[0]).toContain('error copies.2.name:');
  });

  test('may be the same for a source and a copy', () => {
    expect(findings({ sources: [files({ name: 'west' })] })).toEqual([]);
  });
});

describe('keys', () => {
  test('that are mistyped are refused before an hour of backing up is spent on them', () => {
    const mistyped = recipient.replace(/.$/, (c) => (c === 'q' ? 'p' : 'q'));
    expect(findings({ keys: keys({ recipients: [mistyped, secondRecipient] }) })[0]).toContain(
      'error keys.recipients.0: this is no age recipient',
    );
  });

  test('that stand twice do not make two', () => {
    expect(findings({ keys: keys({ recipients: [recipient, recipient] }) })).toEqual([
      'error keys.recipients.1: this recipient stands here twice',
    ]);
  });

  test('with one recipient only are allowed, with a warning', () => {
    expect(findings({ keys: keys({ recipients: [recipient] }) })).toEqual([
      expect.stringContaining('warning keys.recipients: there is one recipient only'),
    ]);
  });

  test.each([
    ['no base64', 'not base64 at all'],
    ['31 bytes', Buffer.alloc(31).toString('base64')],
    ['33 bytes', Buffer.alloc(33).toString('base64')],
    ['PEM', '-----BEGIN PUBLIC KEY-----'],
    ['base64url', Buffer.alloc(32, 0xff).toString('base64url')],
  ])('to trust must be raw Ed25519: %s is not', (_what, key) => {
    expect(findings({ keys: keys({ trusted: [trusted, key] }) })).toEqual([
      'error keys.trusted.1: expected the 32 bytes of a raw Ed25519 public key in base64',
    ]);
  });
});

describe('two copies in one place', () => {
  test.each([
    ['the same folder, written in two ways', server, { ...server, name: 'b', path: '/srv/x/..//backup/.' }],
    ['a folder within the other', server, { ...server, name: 'b', path: '/srv/backup/b' }],
    ['the same bucket', west, { ...west, name: 'b' }],
    ['a prefix within the other', { ...west, prefix: 'a' }, { ...west, name: 'b', prefix: 'a/b' }],
    [
      'the same endpoint, written in two ways',
      { ...west, endpoint: 'https://s3.example.com' },
      { ...west, name: 'b', endpoint: 'https://S3.example.com/' },
    ],
  ])('are refused: %s', (_what, a, b) => {
    expect(findings({ copies: [a, b] })).toContainEqual(
      expect.stringContaining(`error copies.1: lies in the same place as copies[0] ("${a.name}")`),
    );
  });

  test.each([
    ['folders side by side that begin alike', server, { ...server, name: 'b', path: '/srv/backup2' }],
    ['two prefixes', { ...west, prefix: 'a' }, { ...west, name: 'b', prefix: 'ab' }],
    ['two endpoints', west, { ...west, name: 'b', endpoint: 'https://s3.example.com' }],
    ['a folder and a bucket', server, west],
  ])('are something else: %s', (_what, a, b) => {
    expect(findings({ copies: [a, b] }).join()).not.toContain('same place');
  });
});

describe('staging', () => {
  test.each(['/srv/backup', '/srv/backup/staging', '/srv'])('may not overlap a copy: %s', (path) => {
    expect(findings({ staging: { path } })).toEqual([
      `error copies.0.path: overlaps staging.path (${path}), which is cleared after each job`,
    ]);
  });
});

describe('a source that would back itself up', () => {
  test('is refused when it holds a copy or staging, with what to exclude', () => {
    expect(findings({ sources: [files({ path: '/srv' })] })).toEqual([
      'error sources.0.path: holds the copy "server" (/srv/backup), so it would back itself up; add "backup" to its exclude',
    ]);
    expect(findings({ sources: [files({ path: '/' })] })).toHaveLength(2);
  });

  test('is refused within a copy or staging', () => {
    expect(findings({ sources: [files({ path: '/srv/backup/files' })] })[0]).toContain(
      'lies within the copy "server" (/srv/backup)',
    );
  });

  test.each([
    ['by its name', ['backup']],
    ['by a glob', ['back*']],
    ['by a folder above it', ['**/backup']],
  ])('is taken when the copy is excluded %s', (_how, exclude) => {
    expect(findings({ sources: [files({ path: '/srv', exclude })] })).toEqual([]);
  });

  test('is refused when what is excluded is something else', () => {
    expect(findings({ sources: [files({ path: '/srv', exclude: ['backups', 'other/backup'] })] })).toHaveLength(1);
  });
});

describe('credentials of a bucket', () => {
  test('go together', () => {
    const half = { ...west, accessKeyId: 'env:ID' };
    expect(findings({ copies: [server, half] })).toEqual([
      'error copies.1: accessKeyId and secretAccessKey go together: give both, or neither for the default chain',
    ]);
    expect(findings({ copies: [server, { ...half, secretAccessKey: 'env:KEY' }] })).toEqual([
      expect.stringContaining('the key pair that writes also deletes'),
    ]);
  });
});

describe('the calendar', () => {
  test('must be that of a time zone there is, for all sources or one', () => {
    expect(findings({ calendar: { timeZone: 'Europe/Brelin' } })).toEqual([
      'error calendar.timeZone: there is no such time zone; did you mean "Europe/Berlin"?',
    ]);
    expect(findings({ sources: [files({ calendar: { timeZone: 'x' } })] })).toEqual([
      'error sources.0.calendar.timeZone: there is no such time zone; use an IANA name such as Europe/Berlin',
    ]);
  });

  test('that never makes a full backup is warned of, and one that makes none at all is not', () => {
    const monthly = { level: 'incremental' };
    expect(findings({ calendar: { monthly, yearly: { keep: 0 } } })).toEqual([
      expect.stringContaining('warning calendar: no class makes full backups'),
    ]);
    const off = { keep: 0 };
    expect(findings({ calendar: { daily: off, weekly: off, monthly: off, yearly: off } })).toEqual([]);
  });
});

test('a lock that leaves out what the locked point needs is warned of', () => {
  expect(findings({ calendar: { daily: { immutable: true } } })).toEqual([
    'warning calendar.daily.immutable: a lock on incremental backups does not lock the full one that they need',
  ]);
});

describe('tiers', () => {
  const moving = (...moves: object[]) => findings({ copies: [server, { ...west, moves }] });

  test('that are not there are named, with the one that was probably meant', () => {
    expect(moving({ to: 'archiv', storageClass: 'GLACIER' })).toEqual([
      'error copies.1.moves.0.to: there is no such tier; did you mean "archive"?',
    ]);
    expect(findings({ copies: [{ ...server, tier: 'floppy' }, west] })).toEqual([
      'error copies.0.tier: there is no such tier; there are hot, warm, cold, archive',
    ]);
  });

  test('have one name each', () => {
    const tier = { name: 'hot', dollarsPerGbMonth: 1 };
    expect(findings({ tiers: [tier, { ...tier, name: 'cold' }, tier] })).toEqual([
      'error tiers.2.name: tiers[0] is named "hot" already',
    ]);
  });

  test('are reached one after the other', () => {
    const [archive, cold] = [
      { to: 'archive', storageClass: 'GLACIER' },
      { to: 'cold', storageClass: 'STANDARD_IA' },
    ];
    expect(findings({ copies: [server, { ...west, tier: 'hot', moves: [cold, archive] }] })).toEqual([]);
    expect(findings({ copies: [server, { ...west, tier: 'hot', moves: [archive, cold] }] })).toEqual([
      'error copies.1.moves.1: "cold" is to be reached after 30d, no later than what comes before it',
    ]);
    expect(moving({ to: 'hot', storageClass: 'STANDARD' })).toEqual([
      'error copies.1.moves.0: "hot" is to be reached at once, no later than what comes before it',
    ]);
  });

  test('on disks are places like others: not those of another copy, of staging, or of a source', () => {
    const warm = (path: string) => ({ ...server, moves: [{ to: 'warm', path }] });
    const far = { ...server, name: 'far', region: 'us-west-2', medium: 'removable', path: '/mnt/far' };
    expect(findings({ copies: [warm('/mnt/far/old'), far] })[0]).toContain('copies.1: lies in the same place');
    expect(findings({ copies: [warm('/var/lib/backup/staging/warm'), west] })[0]).toContain('overlaps staging.path');
    expect(findings({ copies: [warm('/srv/files/warm'), west], sources: [files()] })[0]).toContain(
      '"warm" to its exclude',
    );
  });

  test('that thaw longer than a source may be away are refused, when every copy ends there', () => {
    const frozen = { ...west, moves: [{ to: 'archive', storageClass: 'GLACIER' }] };
    const sources = [files({ rto: '1h' })];
    expect(findings({ copies: [{ ...server, pruneAfter: '7d' }, frozen], sources })).toEqual([
      expect.stringContaining('error sources.0.rto: cannot be met from old yearly points'),
    ]);
    expect(findings({ copies: [server, frozen], sources })).toEqual([]);
    expect(findings({ copies: [{ ...server, pruneAfter: '7d' }, frozen], sources: [files({ rto: '6h' })] })).toEqual(
      [],
    );
  });
});

describe('promises', () => {
  test('a copy that may be later than the strictest source allows is warned of', () => {
    const sources = [files({ rpo: '6h' }), files({ name: 'other', path: '/srv/other' })];
    expect(findings({ sources, copies: [server, { ...west, deadline: '12h' }] })).toEqual([
      expect.stringContaining(
        'warning copies.0.deadline: may take 24h, longer than the 6h of data that "files" may lose',
      ),
      expect.stringContaining('warning copies.1.deadline: may take 12h'),
    ]);
  });

  test('a policy that cannot keep the 3-2-1 rule is warned of', () => {
    const here = { ...west, region: 'us-east-1' };
    expect(findings({ copies: [server, here] })).toEqual([
      'warning copies: the 3-2-1 rule cannot be kept: no copy off-site: none is planned outside us-east-1, where production runs',
    ]);
  });
});

describe('what may delete', () => {
  const pair = { accessKeyId: 'env:ID', secretAccessKey: 'env:SECRET' };
  const other = { accessKeyId: 'env:OTHER_ID', secretAccessKey: 'env:OTHER_SECRET' };

  test.each([
    ['one key pair serves all', pair],
    ['one is named for both', { credentials: { write: pair, delete: pair } }],
  ])('is warned of when %s', (_how, keys) => {
    expect(findings({ copies: [server, { ...west, ...keys }] })).toEqual([
      expect.stringContaining('warning copies.1: the key pair that writes also deletes'),
    ]);
  });

  test.each([
    ['each has its own', { credentials: { write: pair, delete: other } }],
    ['deleting has its own', { ...pair, credentials: { delete: other } }],
    ['each process brings its own', {}],
  ])('is left alone when %s', (_how, keys) => {
    expect(findings({ copies: [server, { ...west, ...keys }] })).toEqual([]);
  });
});

describe('what is called immutable', () => {
  const yearly = (keep: number) => ({ yearly: { keep, immutable: true } });

  test('is warned of when no copy locks it', () => {
    const text = 'warning calendar: yearly backups are called immutable, and no copy has a lock that makes them so';
    expect(findings({ copies: [server, { ...west, lock: undefined }] })).toEqual([text]);
    expect(findings({ copies: [server, { ...west, lock: undefined }], calendar: yearly(0) })).toEqual([]);
  });

  test('is warned of where it is locked for longer than it is kept', () => {
    const copies = [server, { ...west, pruneAfter: '400d' }];
    expect(findings({ copies, calendar: yearly(2) })).toEqual([
      expect.stringMatching(
        /^warning copies\.1\.pruneAfter: what is locked here stays for up to .*, longer than 400d$/,
      ),
    ]);
    expect(findings({ copies, calendar: yearly(1) })).toEqual([]);
  });
});
