import { z } from 'zod';

/** `backup.json`, version 1: the clear-text, signed description of one recovery point. See docs/format.md. */

export const backupFormat = 'backup-coordinator/1';

export const sourceKinds = ['postgres-logical', 'postgres-physical', 'files'] as const;
export const sourceKind = z.enum(sourceKinds);
export type SourceKind = z.infer<typeof sourceKind>;

export const level = z.enum(['full', 'differential', 'incremental']);
export type Level = z.infer<typeof level>;

export const backupClass = z.enum(['manual', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']);
export type BackupClass = z.infer<typeof backupClass>;

const timestamp = z.iso.datetime();
const bytes = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hex');
/** Names of points, sources and objects become parts of keys and paths: one plain segment, and no hidden one. */
export const plainName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'a plain name');

export const objectRole = z.enum(['artifact', 'manifest', 'key']);
export type ObjectRole = z.infer<typeof objectRole>;

/** One sealed object of a recovery point, as it lies in a store beside backup.json. */
export const sealedObject = z.strictObject({
  role: objectRole,
  /** File name within the point's prefix, e.g. `data.tar.zst.tink`. */
  name: plainName,
  bytes,
  sha256,
});
export type SealedObject = z.infer<typeof sealedObject>;

/**
 * What the artifact holds once decrypted and decompressed. `blocks`: what has changed since another point, in no order
 * that means anything without the manifest.
 */
export const contentFormat = z.enum(['pax-tar', 'parts', 'blocks']);
export type ContentFormat = z.infer<typeof contentFormat>;

/** A named range of the decompressed artifact (format `parts`): how to cut it by hand. */
export const contentPart = z.strictObject({ path: z.string(), offset: bytes, bytes });

export const content = z.strictObject({
  format: contentFormat,
  /** Decompressed length of the artifact. */
  bytes,
  /** Bytes read from the source: file contents or dump, without tar headers. */
  sourceBytes: bytes,
  entries: z.int().nonnegative(),
  parts: z.array(contentPart).optional(),
  /** Entries that kept changing while they were read; their content is from several moments. */
  unstable: z.int().nonnegative(),
});
export type Content = z.infer<typeof content>;

/** Facts about the source at the moment of capture; strings, numbers and booleans only, never a secret. */
export const sourceFacts = z.record(z.string(), z.union([z.string(), z.int(), z.boolean(), z.null()]));
export type SourceFacts = z.infer<typeof sourceFacts>;

export const checkNames = ['integrity', 'size', 'encryption', 'restore_test', 'content'] as const;
export const checkName = z.enum(checkNames);
export type CheckName = z.infer<typeof checkName>;

/** The outcome of one of the five checks (mission row E1). */
export const check = z.strictObject({
  check: checkName,
  passed: z.boolean(),
  /** One line a person can read: what was compared, how much of it. */
  details: z.string(),
  /** Present when it failed: what differed, where. */
  error: z.string().optional(),
  durationMs: z.int().nonnegative(),
});
export type Check = z.infer<typeof check>;

export const validation = z.strictObject({
  finishedAt: timestamp,
  passed: z.boolean(),
  checks: z.array(check),
});
export type Validation = z.infer<typeof validation>;

/** What sealing produced: everything in backup.json but the validation and the signature. */
export const sealedPoint = z.strictObject({
  format: z.literal(backupFormat),
  id: plainName,
  source: z.strictObject({ name: plainName, kind: sourceKind, host: z.string() }),
  level,
  /** The point this one needs, null for a full one. */
  parent: z.string().nullable(),
  classes: z.array(backupClass).min(1),
  startedAt: timestamp,
  /** The moment whose state a restore brings back (snapshot time, or start of the walk). */
  capturedAt: timestamp,
  sealedAt: timestamp,
  content,
  facts: sourceFacts,
  objects: z.array(sealedObject),
  compression: z.strictObject({ scheme: z.literal('zstd'), level: z.int() }),
  encryption: z.strictObject({
    scheme: z.literal('tink-streaming-aead/AES256_GCM_HKDF_1MB'),
    recipients: z.array(z.string()).min(1),
    /** Commits to the point's key, so that no wrapped key but one of this very key is taken for it. Lower-case hex. */
    keyCheck: z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits'),
  }),
  software: z.string(),
});
export type SealedPoint = z.infer<typeof sealedPoint>;

export const signature = z.strictObject({
  algorithm: z.literal('ed25519'),
  /** Raw 32-byte public key, base64. */
  publicKey: z.string(),
  /** Over the RFC 8785 canonical form of this document without `signature`, base64. */
  value: z.string(),
});

export const backupJson = z.strictObject({ ...sealedPoint.shape, validation, signature });
export type BackupJson = z.infer<typeof backupJson>;

/** Key prefix, ending in '/', under which every object of a point lies in every store. */
export function pointPrefix(source: string, pointId: string): string {
  return `${source}/${pointId}/`;
}

export const backupJsonName = 'backup.json';
export const manifestName = 'manifest.ndjson.zst.tink';
export const keyName = 'key.1.age';
/** How the names of wrapped keys begin. */
export const keyNamePrefix = 'key.';
export const artifactNames = {
  'pax-tar': 'data.tar.zst.tink',
  parts: 'data.parts.zst.tink',
  blocks: 'data.blocks.zst.tink',
} as const;

/** The number of a wrapped key by its name, `key.N.age`; null for any other name. Rotation makes those above 1. */
export function keyNumber(name: string): number | null {
  const digits = /^key\.([1-9]\d{0,8})\.age$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** The name of the wrapped key with that number. */
export function keyNameOf(number: number): string {
  return `key.${number}.age`;
}

/** Sum of the sealed objects, i.e. what a copy occupies but for backup.json itself. */
export function storedBytes(point: Pick<SealedPoint, 'objects'>): number {
  return point.objects.reduce((sum, o) => sum + o.bytes, 0);
}
