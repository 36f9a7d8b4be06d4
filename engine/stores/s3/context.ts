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
  /** Left out of puts where the server refuses it. */
  storageClass?: string;
  /** Left out of puts where the server refuses it. */
  sse?: 'AES256' | 'aws:kms';
  tags?: Record<string, string>;
  /** Of a multipart upload, at least 5 MiB. */
  partBytes?: number;
  /** Parts under way at once. */
  concurrency?: number;
  /** A connection on which nothing moves for so long is given up. Default two minutes. */
  idleMaxMs?: number;
}

/** What every call of this store shares. */
export interface S3Context {
  options: S3StoreOptions & { partBytes: number; concurrency: number };
  client: S3Client;
  /** For what a server may think about for long without a sign of life: putting a large object together. */
  patient: S3Client;
  /** Before every key, with its '/'. */
  base: string;
  /** Bucket and the full key. */
  at(key: string): { Bucket: string; Key: string };
  /** The key of ours in a full one; null for what is not listed: the store's own objects. */
  keyOf(full: string | undefined): string | null;
  /** Runs a call and gives its failure a name. */
  call<T>(what: string, run: () => Promise<T>): Promise<T>;
  /** Store and bucket, and the key if there is one, as messages name them. */
  place(key: string): string;
}
