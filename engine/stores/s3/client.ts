import { S3Client } from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import { assertKey } from '../keys.ts';
import type { S3Context, S3StoreOptions } from './context.ts';
import { asFailure, unusableKey } from './errors.ts';

/** Servers on a file system copy all parts before they answer the completion of an upload. */
const thinkingMaxMs = 3_600_000;

export function createContext(given: S3StoreOptions): S3Context {
  const options = { ...given, partBytes: given.partBytes ?? 16 * 1024 * 1024, concurrency: given.concurrency ?? 4 };
  const { name, bucket } = options;
  const base = options.prefix ? `${options.prefix}/` : '';
  const place = (key: string) => `${name} (bucket ${bucket})${key === '' ? '' : `, ${key}`}`;
  return {
    options,
    client: createClient(options, options.idleMaxMs ?? 120_000),
    patient: createClient(options, thinkingMaxMs),
    base,
    place,
    at(key) {
      assertKey(key);
      if (Buffer.byteLength(base + key) > 1024) throw unusableKey(place(key));
      return { Bucket: bucket, Key: base + key };
    },
    keyOf(full) {
      const key = full?.slice(base.length) ?? '';
      return key === '' || key.startsWith('.') ? null : key;
    },
    async call(what, run) {
      try {
        return await run();
      } catch (error) {
        throw isFailure(error) ? error : asFailure(error, place(what), options);
      }
    },
  };
}

function createClient(options: S3StoreOptions, socketTimeout: number): S3Client {
  return new S3Client({
    region: options.region,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    forcePathStyle: options.forcePathStyle ?? false,
    ...(options.credentials ? { credentials: options.credentials } : {}),
    // The workflow tries again for hours; here only a hiccup is bridged.
    maxAttempts: 5,
    // Without one, the SDK writes to the console.
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    // Every reader of ours checks what it reads, by SHA-256 or by decrypting it.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: 5_000,
      socketTimeout,
      httpsAgent: { maxSockets: 64 },
      httpAgent: { maxSockets: 64 },
    },
  });
}
