import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exitCodes, exitCodesPage } from '../../client/exit-codes.ts';
import { failureTypes } from '../../policies/failure.ts';
import { backupctl } from './terminal.ts';

const policy = {
  version: 1,
  site: { region: 'us-east-1' },
  // Nothing listens on port 1.
  temporal: { address: '127.0.0.1:1', namespace: 'default' },
  catalog: { dsn: 'env:CATALOG_OF_THE_CLIENT_TEST' },
  keys: {
    recipients: ['age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj'],
    signing: 'file:/none/signing.pem',
    trusted: ['PExJ4uXEZm1aTmUE6+LnNGTqNWZiKTNfVej+ti9uGjE='],
    identity: 'file:/none/identity',
  },
  staging: { path: '/var/lib/none' },
  sources: [
    { name: 'tree', kind: 'files', path: '/srv/tree' },
    {
      name: 'shop',
      kind: 'postgres-logical',
      connection: { host: '127.0.0.1', port: 1, database: 'shop', user: 'backup' },
    },
  ],
  copies: [
    { name: 'disk', kind: 'directory', region: 'us-east-1', path: '/srv/none' },
    { name: 'offsite', kind: 'directory', medium: 'removable', region: 'us-west-2', path: '/srv/none-either' },
  ],
};

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(path.join(tmpdir(), 'client-'));
  writeFileSync(path.join(cwd, 'policy.yaml'), JSON.stringify(policy));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

/** The one JSON document on stdout; fails when there is anything else. */
async function json(argv: string[], env: NodeJS.ProcessEnv = {}) {
  const ran = await backupctl([...argv, '--json'], { cwd, env });
  expect(ran.stderr).toBe('');
  return { exitCode: ran.exitCode, document: JSON.parse(ran.stdout) };
}

describe('backupctl', () => {
  test('shows its commands and exit codes, and ends well', async () => {
    const { exitCode, stdout } = await backupctl(['--help'], { cwd });
    expect(exitCode).toBe(0);
    for (const { code } of exitCodes()) expect(stdout).toMatch(new RegExp(`^ +${code} `, 'm'));
    for (const name of [
      'policy',
      'backup',
      'restore',
      'retention',
      'catalog',
      'status',
      'coordinator',
      'incidents',
      'doctor',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ +${name}`, 'm'));
    }
  });

  test('documents an exit code for every failure', () => {
    const documented = exitCodes().flatMap((c) => c.types);
    expect(documented.toSorted()).toEqual(Object.keys(failureTypes).toSorted());
  });

  test('has the page of exit codes that follows the table', async () => {
    const page = await readFile(new URL('../../docs/exit-codes.md', import.meta.url), 'utf8');
    expect(page).toBe(exitCodesPage());
  });

  test.each([
    ['a command that is nearly right', ['bakup'], 'Did you mean backup?'],
    ['a subcommand that is nearly right', ['backup', 'lst'], 'Did you mean list?'],
    ['an option that is nearly right', ['backup', 'list', '--limti', '3'], 'Did you mean --limit?'],
    ['a level there is none of', ['backup', 'run', 'tree', '--level', 'half'], 'full, differential, incremental'],
    ['a number that is none', ['backup', 'list', '--limit', 'many'], 'whole number'],
    ['a missing argument', ['backup', 'run'], 'source'],
    ['no command at all', [], 'command is missing'],
    ['both one point and all', ['backup', 'verify', 'x', '--all'], 'Name the recovery point'],
    ['nothing to rebuild from', ['catalog', 'rebuild'], 'Name what to rebuild'],
  ])('refuses %s, once and with the next step', async (_what, argv, words) => {
    const { exitCode, stdout, stderr } = await backupctl(argv, { cwd });
    expect(exitCode).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.split(words)).toHaveLength(2);
    const { document } = await json(argv);
    expect(document).toEqual({
      error: {
        type: 'UsageInvalid',
        message: expect.any(String),
        next: expect.stringContaining('backupctl'),
        exitCode: 2,
      },
    });
  });

  test.each([
    ['SourceUnknown', 3, ['backup', 'run', 'tre'], 'Did you mean "tree"?'],
    ['CopyUnknown', 3, ['catalog', 'rebuild', '--from', 'ofsite'], 'Did you mean "offsite"?'],
    [
      'CopyUnknown',
      3,
      ['restore', 'tree', '--from', 'x', '--into', 'o', '--operator', 'a', '--reason', 'b'],
      'disk, offsite',
    ],
    ['NotHumanTriggered', 2, ['restore', 'tree', '--into', 'o', '--operator', ' ', '--reason', 'b'], '--operator NAME'],
    ['NotHumanTriggered', 2, ['coordinator', 'pause', '--operator', 'me'], '--reason TEXT'],
    ['NotHumanTriggered', 2, ['retention', 'run', '--reason', 'b'], '--operator NAME'],
    ['NotHumanTriggered', 2, ['retention', 'resume', 'tree', '--operator', 'me'], '--reason TEXT'],
    ['SourceUnknown', 3, ['retention', 'plan', 'tre'], 'Did you mean "tree"?'],
    ['SecretMissing', 2, ['backup', 'list'], 'CATALOG_OF_THE_CLIENT_TEST'],
    ['TemporalUnreachable', 8, ['backup', 'run', 'tree'], 'temporal.address'],
    ['PolicyInvalid', 2, ['status', '--policy', '/none/policy.yaml'], '--policy FILE'],
  ])('says %s with its exit code %i and what to do', async (type, exitCode, argv, next) => {
    const said = await json(argv);
    expect(said).toEqual({
      exitCode,
      document: { error: { type, message: expect.any(String), next: expect.stringContaining(next), exitCode } },
    });
  });

  test('names the address at which Temporal does not answer', async () => {
    const { document } = await json(['backup', 'run', 'tree']);
    expect(document.error.message).toContain('127.0.0.1:1');
  });

  test('names a catalog that is away without its password', async () => {
    process.env.CATALOG_OF_THE_CLIENT_TEST = 'postgresql://me:hush-hush@127.0.0.1:1/catalog';
    const { exitCode, document } = await json(['backup', 'list']);
    delete process.env.CATALOG_OF_THE_CLIENT_TEST;
    expect(exitCode).toBe(8);
    expect(document.error).toMatchObject({
      type: 'CatalogUnreachable',
      message: expect.stringContaining('127.0.0.1:1/catalog'),
    });
    expect(JSON.stringify(document)).not.toContain('hush-hush');
  });

  test('finds the policy by option, environment and usual place', async () => {
    const elsewhere = { env: { BACKUP_POLICY: path.join(cwd, 'policy.yaml') }, cwd: '/' };
    await expect(backupctl(['policy', 'check'], elsewhere)).resolves.toMatchObject({ exitCode: 0 });
    await expect(backupctl(['policy', 'check', '--policy', path.join(cwd, 'policy.yaml')])).resolves.toMatchObject({
      exitCode: 0,
    });
    await expect(backupctl(['policy', 'check'], { cwd })).resolves.toMatchObject({ exitCode: 0 });
    await expect(backupctl(['policy', 'check'], { cwd: '/' })).resolves.toMatchObject({ exitCode: 2 });
  });

  test('checks a policy file, and places what is wrong by line and column', async () => {
    const { document } = await json(['policy', 'check']);
    expect(document).toMatchObject({
      valid: true,
      sources: [{ name: 'tree' }, { name: 'shop' }],
      rule: { satisfied: true },
    });
    writeFileSync(path.join(cwd, 'bad.yaml'), 'version: 1\nsite:\n  regoin: x\n');
    const { exitCode, stderr } = await backupctl(['policy', 'check', 'bad.yaml'], { cwd });
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/bad\.yaml:3:3: .*did you mean "region"\?/);
  });

  test('says what is allowed in a policy but should be known', async () => {
    const { document } = await json(['policy', 'check']);
    expect(document.warnings).toEqual([
      expect.stringContaining('there is one recipient only'),
      expect.stringContaining('yearly backups are called immutable, and no copy has a lock'),
    ]);
    const { stdout } = await backupctl(['policy', 'check'], { cwd });
    expect(stdout).toMatch(/^! .*policy\.yaml:\d+:\d+: keys\.recipients: there is one recipient only/m);
  });

  test('prints the rights on the bucket of a copy', async () => {
    const bucket = { name: 'vault', kind: 's3', region: 'us-west-2', bucket: 'vault', prefix: 'p', lock: {} };
    writeFileSync(path.join(cwd, 'bucket.yaml'), JSON.stringify({ ...policy, copies: [...policy.copies, bucket] }));
    const who = [
      '--write',
      'W',
      '--read',
      'R',
      '--delete',
      'D',
      '--hold',
      'H',
      '--rekey',
      'K',
      '--policy',
      'bucket.yaml',
    ];
    const { document } = await json(['policy', 'rights', 'vault', '--aws', ...who]);
    expect(document.Statement).toContainEqual(
      expect.objectContaining({ Sid: 'deleteObjects', Principal: { AWS: ['D'] }, Resource: 'arn:aws:s3:::vault/p/*' }),
    );
    // Seven years of the yearly class, the deadline, and a day.
    const days = String(7 * 366 + 1 + 1);
    expect(document.Statement.at(-1).Condition.NumericGreaterThan).toEqual({
      's3:object-lock-remaining-retention-days': days,
    });
    expect(await json(['policy', 'rights', 'disk', ...who])).toMatchObject({ exitCode: 2 });
  });

  test('is silent about all but results and errors with --quiet, and uncoloured with --no-color', async () => {
    const painted = await backupctl(['policy', 'check'], { cwd, columns: 80 });
    expect(painted.stdout).toContain('\u001b[');
    for (const how of [
      { argv: ['--no-color'], env: {} },
      { argv: [], env: { NO_COLOR: '1' } },
    ]) {
      const plain = await backupctl(['policy', 'check', ...how.argv], { cwd, columns: 80, env: how.env });
      expect(plain.stdout).not.toContain('\u001b[');
    }
  });

  test('doctor says of each thing what is wrong and what to do, and ends with the code of the first', async () => {
    const { exitCode, document } = await json(['doctor']);
    expect(document.ok).toBe(false);
    const ill = document.findings.filter((f: { ok: boolean }) => !f.ok);
    const checks = ill.map((f: { check: string }) => f.check);
    expect(checks).toEqual(
      expect.arrayContaining([
        'signing key',
        'age identity',
        'Temporal',
        'catalog',
        'copy disk',
        'staging disk',
        'source shop',
      ]),
    );
    for (const finding of ill) expect(finding.next).not.toBe('');
    expect(exitCode).toBe(failureTypes[ill[0].type as keyof typeof failureTypes].exitCode);
  });
});
