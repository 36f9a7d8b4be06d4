import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parsePolicy } from '../../policies/parse.ts';
import { roles } from '../../policies/queues.ts';
import { allSecrets, secretsOf } from '../../policies/role-secrets.ts';
import { policyOf } from './policies.ts';

const pair = (name: string) => ({ accessKeyId: `env:${name}_ID`, secretAccessKey: `env:${name}_SECRET` });
const database = (name: string, host: string) => ({
  kind: 'postgres-logical',
  name,
  host,
  connection: { host: 'db', database: name, user: 'backup', password: `env:${name.toUpperCase()}_PASSWORD` },
});
const policy = policyOf({
  sources: [database('one', 'a'), database('two', 'b')],
  copies: [
    { kind: 's3', name: 'east', region: 'e', bucket: 'east', ...pair('EAST') },
    {
      kind: 's3',
      name: 'west',
      region: 'w',
      bucket: 'west',
      credentials: {
        write: pair('PUT'),
        read: pair('GET'),
        delete: pair('REMOVE'),
        hold: pair('HOLD'),
        rekey: pair('REKEY'),
      },
    },
  ],
  restoreTargets: [{ host: 'db2', user: 'postgres', password: 'file:/target' }],
  notifications: [{ kind: 'webhook', url: 'env:HOOK', secret: 'env:HOOK_KEY' }],
});
const keys = (name: string) => [`env:${name}_ID`, `env:${name}_SECRET`];
const [signing, identity] = ['file:/etc/backup/signing.pem', 'file:/etc/backup/identity.txt'];

describe('what a worker is handed', () => {
  test.each([
    ['coordination', [...keys('EAST'), ...keys('GET'), 'env:CATALOG_DSN', 'env:HOOK', 'env:HOOK_KEY']],
    ['backup', [signing, 'env:ONE_PASSWORD']],
    ['transfer', [...keys('EAST'), ...keys('PUT')]],
    ['retention', [...keys('EAST'), ...keys('REMOVE')]],
    ['validation', [...keys('EAST'), ...keys('GET'), identity]],
    ['recovery', [...keys('EAST'), ...keys('GET'), ...keys('REKEY'), 'env:CATALOG_DSN', identity, 'file:/target']],
  ] as const)('in the role %s', (role, expected) => {
    expect(secretsOf(role, policy, 'a').toSorted()).toEqual([...expected].sort());
  });

  test('leaves the credentials for legal holds to people', () => {
    for (const role of roles) expect(secretsOf(role, policy, 'a')).not.toContain('env:HOLD_ID');
  });
});

test('every reference of the example policy is known', () => {
  const text = readFileSync(path.join(import.meta.dirname, '../../policies/default.yaml'), 'utf8');
  const example = parsePolicy(text, 'default.yaml');
  const found = JSON.stringify(example).match(/"(env|file):[^"]+"/g) ?? [];
  expect(allSecrets(example).toSorted()).toEqual([...new Set(found.map((ref) => ref.slice(1, -1)))].sort());
});
