import type { S3Client } from '@aws-sdk/client-s3';

export interface S3StoreOptions {
  name: string;
  bucket: string;
  /** Before every key, without '/' at its ends. */
  prefix?: string;
  region: string;
  /** For servers other than AWS. */
  endpoint?: string;
  forcePathStyle?: boolean;
  /** Absent: the SDK's own chain (environment, profile, instance role). */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  storageClass?: string;
  sse?: 'AES256' | 'aws:kms';
  tags?: Record<string, string>;
  /** Of a multipart upload, at least 5 MiB. */
  partBytes?: number;
  /** Parts under way at once. */
  concurrency?: number;
}

/** What every call of this store shares. */
export interface S3Context {
  options: S3StoreOptions & { partBytes: number; concurrency: number };
  client: S3Client;
  /** Bucket and the full key. */
  at(key: string): { Bucket: string; Key: string };
  /** Runs a call and gives its failure a name. */
  call<T>(what: string, run: () => Promise<T>): Promise<T>;
}
