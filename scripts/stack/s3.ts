import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { BucketAlreadyOwnedByYou, CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Failure, isFailure } from '../../policies/failure.ts';
import { exists } from './cache.ts';
import { findVersitygw } from './find.ts';
import { freePort, startProcess } from './process.ts';
import type { RunningS3, S3Options } from './types.ts';

export type S3Keys = Pick<RunningS3, 'accessKeyId' | 'secretAccessKey'>;

export const newAccessKey = (): string => randomBytes(10).toString('hex').toUpperCase();
export const newSecretKey = (): string => randomBytes(30).toString('base64url');

const healthPath = '/_health';

/**
 * Starts an S3 server (versitygw on a folder) that plays one region, on 127.0.0.1, with its web console. Beside `dir`
 * it keeps `dir.versions`, `dir.iam` (users) and, where the file system has no extended attributes, `dir.sidecar`;
 * its log is `dir.log`. Throws ClientToolMissing, and StoreUnreachable when it does not start.
 */
export async function startS3(options: S3Options): Promise<RunningS3> {
  const program = await findVersitygw();
  const { dir, region } = options;
  const accessKeyId = options.accessKeyId ?? newAccessKey();
  const secretAccessKey = options.secretAccessKey ?? newSecretKey();
  for (const folder of [dir, `${dir}.versions`, `${dir}.iam`]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const port = await freePort(options.port);
  const consolePort = await freePort(options.consolePort);
  const endpoint = `http://127.0.0.1:${port}`;

  const start = async (sidecar: boolean) => {
    if (sidecar) await mkdir(`${dir}.sidecar`, { recursive: true, mode: 0o700 });
    return startProcess({
      name: `The S3 server of ${region}`,
      program,
      args: [
        ...['--port', `127.0.0.1:${port}`, '--webui', `127.0.0.1:${consolePort}`, '--webui-gateways', endpoint],
        ...[
          '--cors-allow-origin',
          `http://127.0.0.1:${consolePort}`,
          '--region',
          region,
          '--health',
          healthPath,
          '--iam-dir',
          `${dir}.iam`,
          '--quiet',
        ],
        ...(options.accessLog === undefined ? [] : ['--access-log', options.accessLog]),
        ...['posix', '--versioning-dir', `${dir}.versions`],
        ...(sidecar ? ['--sidecar', `${dir}.sidecar`] : []),
        dir,
      ],
      // By environment: arguments can be seen by every user of the machine.
      env: { ROOT_ACCESS_KEY_ID: accessKeyId, ROOT_SECRET_ACCESS_KEY: secretAccessKey },
      logFile: `${dir}.log`,
      failure: 'StoreUnreachable',
      ports: [port, consolePort],
      ready: () => answers(`${endpoint}${healthPath}`),
    });
  };
  const running = await startWithMetadata(start, await exists(`${dir}.sidecar`));
  return {
    ...running,
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    consoleUrl: `http://127.0.0.1:${consolePort}`,
  };
}

/** Metadata lies in extended attributes; on file systems without them, in files of their own. Once so, always so. */
async function startWithMetadata<T>(start: (sidecar: boolean) => Promise<T>, sidecar: boolean): Promise<T> {
  if (sidecar) return start(true);
  try {
    return await start(false);
  } catch (error) {
    if (isFailure(error, 'StoreUnreachable') && /xattr|extended attribute/i.test(error.message)) return start(true);
    throw error;
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Not listening yet; the caller asks again, and gives up with the server's own log.
    return false;
  }
}

export interface BucketOptions {
  /** With Object Lock (and so versioning) from the start; S3 allows it at no other time. Default false. */
  objectLock?: boolean;
}

/** Makes the bucket when it is not there. Throws StoreDenied with the server's reason when it may not. */
export async function ensureBucket(
  server: S3Access,
  bucket: string,
  { objectLock = false }: BucketOptions = {},
): Promise<void> {
  const client = s3Client(server);
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: objectLock }));
  } catch (error) {
    if (!(error instanceof BucketAlreadyOwnedByYou)) throw refused(bucket, server.endpoint, error);
    await client.send(new HeadBucketCommand({ Bucket: bucket }));
  } finally {
    client.destroy();
  }
}

function refused(bucket: string, endpoint: string, error: unknown): Failure {
  return new Failure(
    'StoreDenied',
    `The bucket ${bucket} cannot be made at ${endpoint}: ${(error as Error).message}.`,
    {
      next: "Look at the server's log beside its folder.",
      cause: error,
    },
  );
}

/** What is needed to talk to a server. */
export type S3Access = Pick<RunningS3, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'>;

/** A client with the given credentials. The caller destroys it. */
export function s3Client({ endpoint, region, accessKeyId, secretAccessKey }: S3Access): S3Client {
  return new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
}
