import path from 'node:path';
import { loadPolicy, resolveSecret } from '../engine/config/index.ts';
import { credentialsFor, type StoreAccess } from '../policies/credentials.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { CopyPolicy, Policy } from '../policies/policy.ts';
import { ensureBackupLogin, ensureCatalogLogin } from './stack/database.ts';
import { ensureBucket, type S3Keys } from './stack/s3.ts';
import { ensureUsers } from './stack/s3-users.ts';

/**
 * `compose-prepare.ts POLICY SECRETS`: what the services of docker-compose.yml find when they start. Makes the bucket
 * of every S3 copy, with Object Lock, and a user for each kind of access; the logins of PostgreSQL. It alone is given
 * the keys of the S3 servers' root users (SECRETS/NAME-root-access-key) and the password of PostgreSQL's superuser.
 */

const [policyFile = '', secrets = ''] = process.argv.slice(2);
const secret = (name: string) => resolveSecret(`file:${path.join(secrets, name)}`);

async function main(): Promise<void> {
  const policy = await loadPolicy(policyFile);
  for (const copy of policy.copies) if (copy.kind === 's3') await prepareBucket(copy);
  await prepareLogins(policy);
}

async function prepareBucket(copy: Extract<CopyPolicy, { kind: 's3' }>): Promise<void> {
  const { name, bucket, endpoint, region } = copy;
  if (endpoint === undefined) return;
  const root = {
    endpoint,
    region,
    accessKeyId: await secret(`${name}-root-access-key`),
    secretAccessKey: await secret(`${name}-root-secret-key`),
  };
  const keys = async (access: StoreAccess): Promise<S3Keys> => {
    const refs = credentialsFor(copy, access);
    if (!refs) {
      throw new Failure('PolicyInvalid', `${name} names no credentials to ${access}.`, {
        next: 'Run scripts/compose-init.ts in an empty folder, and compare its policy with yours.',
      });
    }
    return {
      accessKeyId: await resolveSecret(refs.accessKeyId),
      secretAccessKey: await resolveSecret(refs.secretAccessKey),
    };
  };
  const users = {
    write: await keys('write'),
    read: await keys('read'),
    delete: await keys('delete'),
    hold: await keys('hold'),
    rekey: await keys('rekey'),
  };
  await ensureBucket(root, bucket, { objectLock: true });
  await ensureUsers(root, bucket, users);
  process.stdout.write(`${name}: bucket ${bucket}, users to ${Object.keys(users).join(', ')}\n`);
}

async function prepareLogins({ catalog }: Policy): Promise<void> {
  const own = new URL(await resolveSecret(catalog.dsn));
  const superuser = new URL(own);
  superuser.username = 'postgres';
  superuser.password = encodeURIComponent(await secret('postgres-password'));
  superuser.pathname = '/postgres';
  await ensureCatalogLogin(superuser.href, decodeURIComponent(own.password));
  await ensureBackupLogin(superuser.href, await secret('backup-password'), ['catalog']);
  process.stdout.write('PostgreSQL: logins catalog, backup\n');
}

try {
  await main();
} catch (error) {
  if (!isFailure(error)) throw error;
  process.stderr.write(`✗ ${error.message}\n  next: ${error.next}\n`);
  process.exitCode = error.exitCode;
}
