import { describe, expect, test } from '@jest/globals';
import { bucketPolicy } from '../../policies/bucket-policy.ts';

const principals = { write: 'W', read: 'R', delete: 'D', hold: 'H', rekey: 'K' };
/** As S3 reads `*` and `?`. */
const wildcard = (pattern: string) =>
  new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`);
const policy = bucketPolicy({ bucket: 'vault', principals });

/** What a principal is allowed, without what it is denied. */
const allowed = (principal: string) =>
  policy.Statement.filter((s) => s.Effect === 'Allow' && s.Principal.AWS.includes(principal)).flatMap((s) => s.Action);

describe('the policy of a bucket', () => {
  test('lets nobody change the bucket, shorten a lock by force, or own objects', () => {
    for (const principal of Object.values(principals)) {
      for (const action of allowed(principal)) {
        expect(action).not.toMatch(/^s3:(PutBucket|DeleteBucket|PutLifecycle|PutReplication|Bypass|PutObjectAcl|.*\*)/);
      }
    }
  });

  test('lets only those delete who put nothing, and only those put who delete nothing', () => {
    const deleting = Object.values(principals).filter((p) => allowed(p).some((a) => a.startsWith('s3:Delete')));
    const putting = Object.values(principals).filter((p) => allowed(p).includes('s3:PutObject'));
    expect([deleting, putting]).toEqual([['D'], ['W', 'H', 'K']]);
  });

  test('keeps the notes on legal holds out of the hands of those who write backups', () => {
    expect(policy.Statement).toContainEqual(
      expect.objectContaining({
        Effect: 'Deny',
        Principal: { AWS: ['W'] },
        Action: expect.arrayContaining(['s3:PutObject']),
        Resource: 'arn:aws:s3:::vault/*/hold.*',
      }),
    );
  });

  test('lets those who wrap keys anew put nothing but wrapped keys, and those who write backups none but the first', () => {
    const puts = policy.Statement.filter((s) => s.Effect === 'Allow' && s.Principal.AWS.includes('K')).filter((s) =>
      s.Action.includes('s3:PutObject'),
    );
    expect(puts.map((s) => s.Resource)).toEqual(['arn:aws:s3:::vault/*/key.*.age']);
    const denied = policy.Statement.filter((s) => s.Effect === 'Deny' && s.Principal.AWS.includes('W'));
    const patterns = denied.flatMap((s) => s.Resource).map((r) => r.slice('arn:aws:s3:::vault/'.length));
    const isDenied = (key: string) => patterns.some((p) => wildcard(p).test(key));
    expect([2, 3, 9, 10, 19, 20, 199, 1000].filter((n) => !isDenied(`shop/p/key.${n}.age`))).toEqual([]);
    for (const name of ['key.1.age', 'backup.json', 'data.tar.zst.tink'])
      expect(isDenied(`shop/p/${name}`)).toBe(false);
  });

  test('fits into 4 KiB with long names, which is what the attributes of a folder may take up on many file systems', () => {
    const long = Object.fromEntries(Object.keys(principals).map((access) => [access, 'K'.repeat(24)]));
    const document = bucketPolicy({ bucket: 'b'.repeat(40), principals: { ...principals, ...long } });
    expect(JSON.stringify(document).length).toBeLessThan(3_600);
  });

  test('reaches no further than the prefix', () => {
    const { Statement } = bucketPolicy({ bucket: 'vault', prefix: 'prod', principals, aws: { lockDaysMax: 30 } });
    for (const resource of Statement.flatMap((s) => s.Resource)) {
      expect(resource).toMatch(/^arn:aws:s3:::vault(\/prod\/\*.*)?$/);
    }
  });

  test('refuses unconditional puts and endless locks where the server knows such conditions', () => {
    const { Statement } = bucketPolicy({ bucket: 'vault', principals, aws: { lockDaysMax: 30 } });
    expect(Statement.slice(-2)).toMatchObject([
      { Effect: 'Deny', Action: ['s3:PutObject'], Condition: { Null: { 's3:if-none-match': 'true' } } },
      {
        Effect: 'Deny',
        Action: ['s3:PutObject', 's3:PutObjectRetention'],
        Condition: { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': '30' } },
      },
    ]);
    expect(JSON.stringify(policy)).not.toContain('Condition');
  });
});
