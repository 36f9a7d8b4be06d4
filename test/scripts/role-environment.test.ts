import { describe, expect, test } from '@jest/globals';
import { roles } from '../../policies/queues.ts';
import { roleEnvironment } from '../../scripts/role-environment.ts';
import { policyOf } from '../policies/policies.ts';

const policy = policyOf({
  keys: { ...policyOf().keys, signing: 'env:SIGNING', identity: 'env:IDENTITY' },
  notifications: [{ kind: 'webhook', url: 'env:HOOK' }],
});
const ours = {
  SIGNING: 's',
  IDENTITY: 'i',
  CATALOG_DSN: 'c',
  HOOK: 'h',
  AWS_SECRET_ACCESS_KEY: 'a',
  GITHUB_TOKEN: 't',
  TZ: 'UTC',
};

describe('the environment of a worker', () => {
  test.each([
    ['coordination', ['AWS_SECRET_ACCESS_KEY', 'CATALOG_DSN', 'HOOK']],
    ['backup', ['SIGNING']],
    ['transfer', ['AWS_SECRET_ACCESS_KEY']],
    ['retention', ['AWS_SECRET_ACCESS_KEY']],
    ['validation', ['AWS_SECRET_ACCESS_KEY', 'IDENTITY']],
    ['recovery', ['AWS_SECRET_ACCESS_KEY', 'CATALOG_DSN', 'IDENTITY']],
  ] as const)('holds the secrets of the role %s only', (role, expected) => {
    expect(Object.keys(roleEnvironment(role, policy, 'local', ours)).sort()).toEqual([...expected, 'TZ'].sort());
  });

  test('holds nothing of AWS where every copy names its own credentials', () => {
    const named = policyOf({
      copies: [{ kind: 's3', name: 'x', region: 'r', bucket: 'xxx', accessKeyId: 'env:X', secretAccessKey: 'env:Y' }],
    });
    for (const role of roles) {
      expect(roleEnvironment(role, named, 'local', ours)).not.toHaveProperty('AWS_SECRET_ACCESS_KEY');
    }
  });
});
