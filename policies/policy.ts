import { z } from 'zod';

/**
 * The policy file (policies/default.yaml is an example with every key explained). Secrets are references, resolved
 * only in the process that needs them: `env:NAME` or `file:/absolute/path`.
 */

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$|^[a-z0-9]$/, 'lower-case letters, digits and hyphens, at most 63');
const secretRef = z.string().regex(/^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/, 'env:NAME or file:PATH');
/** Seconds, from `90s`, `15m`, `4h`, `7d`. */
export const duration = z
  .string()
  .regex(/^[1-9]\d{0,5}(s|m|h|d)$/, 'a number above 0 and a unit, e.g. 90s, 15m, 4h, 7d');

const hooks = z
  .strictObject({
    /** Run before the source is read; a non-zero exit stops the backup. argv, no shell. */
    pre: z.array(z.string()).min(1).optional(),
    /** Run afterwards in every case. */
    post: z.array(z.string()).min(1).optional(),
    timeout: duration.default('5m'),
  })
  .default({ timeout: '5m' });

const sourceCommon = {
  name,
  /** The machine whose backup worker reads this source; names the task queue backup-HOST. */
  host: name.default('local'),
  /** Critical sources go first, and alone remain when storage runs out. */
  critical: z.boolean().default(false),
  /** Among equals, higher first. */
  priority: z.int().min(0).max(100).default(50),
  rpo: duration.default('24h'),
  rto: duration.default('4h'),
  hooks,
};

export const postgresLogicalSource = z.strictObject({
  ...sourceCommon,
  kind: z.literal('postgres-logical'),
  connection: z.strictObject({
    host: z.string(),
    port: z.int().min(1).max(65535).default(5432),
    database: z.string(),
    user: z.string(),
    password: secretRef.optional(),
    sslmode: z.enum(['disable', 'prefer', 'require', 'verify-ca', 'verify-full']).default('prefer'),
  }),
  /** `custom`: one stream. `directory`: `jobs` connections in parallel, through the staging disk. */
  format: z.enum(['custom', 'directory']).default('custom'),
  jobs: z.int().min(1).max(64).default(2),
  /** Roles and tablespaces, by pg_dumpall --globals-only. */
  globals: z.boolean().default(true),
  /**
   * `dump`: rows and checksums per table are taken from the dump's own rows. `source`: also counted and hashed by the
   * server inside the dumped snapshot, which reads every table a second time.
   */
  fingerprint: z.enum(['dump', 'source']).default('dump'),
});
export type PostgresLogicalSource = z.infer<typeof postgresLogicalSource>;

export const filesSource = z.strictObject({
  ...sourceCommon,
  kind: z.literal('files'),
  path: z.string().startsWith('/', 'an absolute path'),
  include: z.array(z.string()).default([]),
  exclude: z.array(z.string()).default([]),
  /** Stay on the file system that `path` is on. */
  oneFileSystem: z.boolean().default(false),
  /** What to do with files that change at every attempt to read them, and with files that cannot be read. */
  onUnstable: z.enum(['warn', 'fail']).default('warn'),
  onUnreadable: z.enum(['warn', 'fail']).default('fail'),
});
export type FilesSource = z.infer<typeof filesSource>;

export const source = z.discriminatedUnion('kind', [postgresLogicalSource, filesSource]);
export type SourcePolicy = z.infer<typeof source>;

const copyCommon = {
  name,
  /** Where it stands, e.g. us-east-1, or the name of a building. Compared with site.region for the off-site rule. */
  region: z.string().min(1),
  medium: z.enum(['disk', 'object-storage', 'tape', 'removable']),
  /** A branch that has not finished by then counts as failed; the others go on. */
  deadline: duration.default('24h'),
  /** Remove copies older than this here once every other copy of the point is verified. */
  pruneAfter: duration.optional(),
};

const directoryCopy = z.strictObject({
  ...copyCommon,
  kind: z.literal('directory'),
  path: z.string().startsWith('/', 'an absolute path'),
  medium: copyCommon.medium.default('disk'),
});

const s3Copy = z.strictObject({
  ...copyCommon,
  kind: z.literal('s3'),
  medium: copyCommon.medium.default('object-storage'),
  bucket: z.string().min(3),
  /** Before every key, without leading or trailing '/'. */
  prefix: z.string().default(''),
  /** For servers other than AWS. */
  endpoint: z.url().optional(),
  forcePathStyle: z.boolean().default(false),
  accessKeyId: secretRef.optional(),
  secretAccessKey: secretRef.optional(),
  storageClass: z.string().default('STANDARD_IA'),
  sse: z.enum(['AES256', 'aws:kms']).default('AES256'),
  tags: z.record(z.string(), z.string()).default({ Lifecycle: 'Archive' }),
  partBytes: z
    .int()
    .min(5 * 1024 * 1024)
    .default(16 * 1024 * 1024),
  concurrency: z.int().min(1).max(32).default(4),
});

export const copy = z.discriminatedUnion('kind', [directoryCopy, s3Copy]);
export type CopyPolicy = z.infer<typeof copy>;

export const notification = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('webhook'),
    url: secretRef,
    /** HMAC-SHA-256 key for the signature header. */
    secret: secretRef.optional(),
    on: z.array(z.enum(['success', 'failure'])).default(['success', 'failure']),
  }),
  z.strictObject({
    kind: z.literal('email'),
    host: z.string(),
    port: z.int().min(1).max(65535).default(587),
    /** `starttls` refuses to send where the server has none. */
    security: z.enum(['none', 'starttls', 'tls']).default('starttls'),
    user: z.string().optional(),
    password: secretRef.optional(),
    from: z.string(),
    to: z.array(z.string()).min(1),
    on: z.array(z.enum(['success', 'failure'])).default(['success', 'failure']),
  }),
]);
export type NotificationPolicy = z.infer<typeof notification>;

export const policySchema = z.strictObject({
  version: z.literal(1),
  /** Where production runs. */
  site: z.strictObject({ region: z.string().min(1) }),
  temporal: z
    .strictObject({
      address: z.string().default('127.0.0.1:7233'),
      namespace: z.string().default('default'),
    })
    .default({ address: '127.0.0.1:7233', namespace: 'default' }),
  catalog: z.strictObject({ dsn: secretRef }),
  keys: z.strictObject({
    /** age recipients (age1…); every artifact's key is wrapped for all of them. */
    recipients: z.array(z.string().startsWith('age1', 'an age recipient, age1…')).min(1),
    /** PEM, PKCS #8, Ed25519. Held by backup workers. */
    signing: secretRef,
    /** Raw public keys, base64, whose signature makes a point count. */
    trusted: z.array(z.string()).min(1),
    /** age identity (AGE-SECRET-KEY-1…). Held by validation and recovery workers only. */
    identity: secretRef,
  }),
  /** Per backup host: sealed points wait here until they are validated and copied. */
  staging: z.strictObject({ path: z.string().startsWith('/', 'an absolute path') }),
  limits: z
    .strictObject({
      backupSlots: z.int().min(1).max(64).default(3),
      /** A lease whose job is gone is freed within this time. */
      leaseTimeout: duration.default('60s'),
      validationTimeout: duration.default('30m'),
    })
    .default({ backupSlots: 3, leaseTimeout: '60s', validationTimeout: '30m' }),
  sources: z.array(source).default([]),
  copies: z.array(copy).min(1),
  notifications: z.array(notification).default([]),
});
export type Policy = z.infer<typeof policySchema>;

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Seconds of a duration such as `15m`. The text has passed the schema. */
export function durationSeconds(text: string): number {
  const unit = text.slice(-1) as keyof typeof unitSeconds;
  return Number(text.slice(0, -1)) * unitSeconds[unit];
}
