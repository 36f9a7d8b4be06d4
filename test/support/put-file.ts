import { fileSource } from '../../engine/stores/index.ts';
import { s3Store } from './s3-store.ts';
import type { S3Service } from './shared.ts';

/** A process of its own that puts a file into a bucket, so that a test can kill it. What to put comes by environment. */

export interface PutFileOrder {
  service: S3Service;
  bucket: string;
  key: string;
  file: string;
  bytes: number;
  sha256: string;
}

/** Each line of its output is the progress so far, as JSON. */
const { service, bucket, key, file, ...facts } = JSON.parse(process.env.PUT_FILE ?? '') as PutFileOrder;
const store = s3Store(service, bucket);
await store.put(key, fileSource(file, facts), {
  onProgress: (progress) => process.stdout.write(`${JSON.stringify(progress)}\n`),
});
await store.close();
