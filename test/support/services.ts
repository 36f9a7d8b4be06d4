import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import pg from 'pg';
import { type S3Service, type Services, servicesVariable } from './shared.ts';

/** The servers that test/support/global-setup.ts started; only in the integration project. */
export async function services(): Promise<Services> {
  const text = process.env[servicesVariable];
  if (text === undefined) {
    throw new Error(
      'There are no shared services here: the test must lie in test/integration, test/faults or test/interop.',
    );
  }
  return JSON.parse(text) as Services;
}

/** A name nobody else uses: lower-case letters and digits. */
export function uniqueName(prefix: string): string {
  return `${prefix}${randomBytes(6).toString('hex')}`;
}

/** Makes a bucket of its own for a test, and returns its name. With Object Lock when asked for. */
export async function makeBucket(service: S3Service, { objectLock = false } = {}): Promise<string> {
  const { endpoint, region, accessKeyId, secretAccessKey } = service;
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  const bucket = uniqueName('test-');
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: objectLock }));
    return bucket;
  } finally {
    client.destroy();
  }
}

export interface TestDatabase {
  name: string;
  /** postgresql:// with password. */
  uri: string;
  drop(): Promise<void>;
}

/** Makes an empty database of its own for a test. */
export async function makeDatabase(): Promise<TestDatabase> {
  const { postgres } = await services();
  const server = `postgresql://${postgres.user}:${encodeURIComponent(postgres.password)}@${postgres.host}:${postgres.port}`;
  const name = uniqueName('test_');
  const run = async (statement: string) => {
    const client = new pg.Client({ connectionString: `${server}/postgres` });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await run(`CREATE DATABASE ${name} TEMPLATE template0`);
  return { name, uri: `${server}/${name}`, drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}
