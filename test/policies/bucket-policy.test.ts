import { describe, expect, test } from '@jest/globals';
import { bucketPolicy } from '../../policies/bucket-policy.ts';

const principals = { write: 'W', read: 'R', delete: 'D', hold: 'H' };
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
    expect([deleting, putting]).toEqual([['D'], ['W', 'H']]);
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

  test('reaches no further than the prefix', () => {
    const { Statement } = bucketPolicy({ bucket: 'vault', prefix: 'prod', principals, aws: { lockDaysMax: 30 } });
    for (const { Resource } of Statement) expect(Resource).toMatch(/^arn:aws:s3:::vault(\/prod\/\*.*)?$/);
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
