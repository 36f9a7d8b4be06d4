import { z } from 'zod';
import { calendarPolicy } from './calendar-policy.ts';
import { duration } from './duration.ts';
import { retentionPolicy } from './retention-policy.ts';
import { secretRef } from './secret-ref.ts';
import { tierName, tiersPolicy } from './tier-policy.ts';
import { walPolicy } from './wal-policy.ts';
import { backupWindow } from './window.ts';

/**
 * The policy file. What `describe` says of a key stands in three places: here, in policies/policy.schema.json for
 * editors, and above the key in policies/default.yaml; tests hold them together. Secrets are references, resolved only
 * in the process that needs them: `env:NAME` or `file:/absolute/path`.
 */

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$|^[a-z0-9]$/, 'lower-case letters, digits and hyphens, at most 63');

const hooks = z
  .strictObject({
    pre: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        'Run before the source is read, argv without a shell and with a bare environment (PATH, HOME, locale); a non-zero exit stops the backup.',
      ),
    post: z.array(z.string()).min(1).optional().describe('Run afterwards in every case.'),
    timeout: duration
      .default('5m')
      .describe('A hook that runs longer is ended, with all that it started, and has failed.'),
  })
  .default({ timeout: '5m' })
  .describe('Commands of your own around each backup of this source.');

const sourceCommon = {
  name: name.describe('Its name for ever: recovery points are filed under it.'),
  host: name
    .default('local')
    .describe('The machine whose backup worker reads this source; names the task queue backup-HOST.'),
  critical: z.boolean().default(false).describe('Critical sources go first, and alone remain when storage runs out.'),
  priority: z.int().min(0).max(100).default(50).describe('Among equals, higher first: 0 to 100.'),
  rpo: duration.default('24h').describe('Recovery point objective: how much of the newest data may be lost at most.'),
  rto: duration.default('4h').describe('Recovery time objective: how soon it must be back.'),
  hooks,
  calendar: calendarPolicy.optional().describe("Takes the place of the policy's calendar for this source."),
  windows: z
    .array(backupWindow)
    .default([])
    .describe(
      'Hours in which its backups may run; outside of them none begins, and one that runs pauses what it sends. Left out: any time.',
    ),
};

const postgresServer = {
  host: z.string().describe('Name, address, or folder of the Unix socket.'),
  port: z.int().min(1).max(65535).default(5432).describe('TCP port, or the number in the name of the socket.'),
  password: secretRef.optional().describe('Reference to its password; leave it out where the server asks for none.'),
  sslmode: z
    .enum(['disable', 'prefer', 'require', 'verify-ca', 'verify-full'])
    .default('prefer')
    .describe("As libpq's sslmode; verify-full where the network is not your own."),
};

export const postgresLogicalSource = z.strictObject({
  ...sourceCommon,
  kind: z.literal('postgres-logical').describe('A PostgreSQL database, by pg_dump.'),
  connection: z
    .strictObject({
      ...postgresServer,
      database: z.string().describe('The database to dump.'),
      user: z.string().describe('A role that may read all of it, such as a member of pg_read_all_data.'),
    })
    .describe('How to reach the server.'),
  format: z
    .enum(['custom', 'directory'])
    .default('custom')
    .describe('custom: one stream; directory: several connections in parallel, through the staging disk.'),
  jobs: z.int().min(1).max(64).default(2).describe('Connections in parallel, for the directory format.'),
  globals: z.boolean().default(true).describe('Also roles and tablespaces, by pg_dumpall --globals-only.'),
  fingerprint: z
    .enum(['dump', 'source'])
    .default('dump')
    .describe('dump: rows are counted and hashed as they are dumped; source: by the server too, reading all twice.'),
});
export type PostgresLogicalSource = z.infer<typeof postgresLogicalSource>;

export const postgresPhysicalSource = z.strictObject({
  ...sourceCommon,
  kind: z.literal('postgres-physical').describe('A whole PostgreSQL cluster, by a base backup with its WAL.'),
  connection: z
    .strictObject({
      ...postgresServer,
      user: z.string().describe('A role with REPLICATION, and a line for "replication" in pg_hba.conf; nothing more.'),
    })
    .describe('How to reach the server, a primary or a standby.'),
  checkpoint: z
    .enum(['fast', 'spread'])
    .default('fast')
    .describe('fast: the server writes its checkpoint at once; spread: it takes its time for it, some minutes.'),
  onDamage: z
    .enum(['fail', 'warn'])
    .default('fail')
    .describe('What to do when pages of the source do not match their checksums: fail or warn.'),
  wal: walPolicy
    .optional()
    .describe('Its write-ahead log is archived all the time, so that any moment can be restored. Left out: it is not.'),
});
export type PostgresPhysicalSource = z.infer<typeof postgresPhysicalSource>;

export const filesSource = z.strictObject({
  ...sourceCommon,
  kind: z.literal('files').describe('A file tree.'),
  path: z.string().startsWith('/', 'an absolute path').describe('The folder to protect.'),
  include: z.array(z.string()).default([]).describe('Globs, relative to path: only what matches; all when empty.'),
  exclude: z
    .array(z.string())
    .default([])
    .describe('Globs, relative to path: what matches stays out, with all below it.'),
  oneFileSystem: z.boolean().default(false).describe('Stay on the file system that path is on.'),
  onUnstable: z
    .enum(['warn', 'fail'])
    .default('warn')
    .describe('What to do about files that change at every attempt to read them: warn or fail.'),
  onUnreadable: z
    .enum(['warn', 'fail'])
    .default('fail')
    .describe('What to do about files that cannot be read: warn or fail.'),
});
export type FilesSource = z.infer<typeof filesSource>;

export const source = z.discriminatedUnion('kind', [postgresLogicalSource, postgresPhysicalSource, filesSource]);
export type SourcePolicy = z.infer<typeof source>;

const copyCommon = {
  name: name.describe('Its name for ever: the catalog files copies under it.'),
  region: z
    .string()
    .min(1)
    .describe('Where it stands, e.g. us-east-1 or the name of a building; off-site when it is not site.region.'),
  medium: z
    .enum(['disk', 'object-storage', 'tape', 'removable'])
    .describe('What it lies on, for the 3-2-1 rule: disk, object-storage, tape or removable.'),
  deadline: duration.default('24h').describe('A copy that is not there by then counts as failed; the others go on.'),
  pruneAfter: duration
    .optional()
    .describe('Removes older points here once every other copy is verified; the newest stays. Left out: never.'),
  tier: tierName.describe('The tier of `tiers` that new points lie in here.'),
};

const moveCommon = { to: tierName.describe('The tier that points move to when they are as old as it says.') };
const movesText = 'Later tiers of this copy, in the order in which points get there.';

const directoryCopy = z.strictObject({
  ...copyCommon,
  kind: z.literal('directory').describe('A folder on a disk of the backup server, or a mounted one.'),
  path: z
    .string()
    .startsWith('/', 'an absolute path')
    .describe('The folder; sealed files only, nothing else beside them.'),
  medium: copyCommon.medium.default('disk'),
  tier: copyCommon.tier.default('hot'),
  moves: z
    .array(
      z.strictObject({
        ...moveCommon,
        path: z.string().startsWith('/', 'an absolute path').describe('The folder of that tier, on another disk.'),
      }),
    )
    .default([])
    .describe(movesText),
});

const keyPair = z.strictObject({
  accessKeyId: secretRef.describe("Reference to the key's id."),
  secretAccessKey: secretRef.describe('Reference to its secret half.'),
});
export type KeyPair = z.infer<typeof keyPair>;

const lockedFor = (of: string) => duration.optional().describe(`Of the class ${of}.`);

export const objectLock = z.strictObject({
  mode: z
    .enum(['compliance', 'governance'])
    .default('compliance')
    .describe('compliance: nobody can lift it; governance: only whom the bucket lets bypass it.'),
  keep: z
    .strictObject({
      manual: lockedFor('manual'),
      hourly: lockedFor('hourly'),
      daily: lockedFor('daily'),
      weekly: lockedFor('weekly'),
      monthly: lockedFor('monthly'),
      yearly: lockedFor('yearly'),
    })
    .default({})
    .describe('How long, by class, where that is to be longer than what the calendar says of immutable classes.'),
});

const s3Copy = z.strictObject({
  ...copyCommon,
  kind: z.literal('s3').describe('A bucket, of AWS or of any server that speaks S3.'),
  medium: copyCommon.medium.default('object-storage'),
  tier: copyCommon.tier.default('cold'),
  moves: z
    .array(
      z.strictObject({
        ...moveCommon,
        storageClass: z.string().min(1).describe('The storage class of that tier, e.g. GLACIER.'),
      }),
    )
    .default([])
    .describe(movesText),
  bucket: z.string().min(3).describe('It must exist; nothing creates it.'),
  prefix: z.string().default('').describe("Before every key, without '/' at either end."),
  endpoint: z.url().optional().describe('For servers other than AWS.'),
  forcePathStyle: z
    .boolean()
    .default(false)
    .describe('Bucket in the path instead of the host name; most other servers need it.'),
  accessKeyId: secretRef
    .optional()
    .describe(
      "Reference to the key's id, for whom `credentials` does not name; left out with the next, AWS's usual chain is asked.",
    ),
  secretAccessKey: secretRef.optional().describe('Reference to the secret half; the two go together.'),
  credentials: z
    .strictObject({
      write: keyPair.optional().describe('Transfer workers: put, and read back.'),
      read: keyPair.optional().describe('Coordination, validation and recovery workers, and backupctl: get and list.'),
      delete: keyPair.optional().describe('Retention workers: get, list and delete.'),
      hold: keyPair.optional().describe('backupctl hold: legal holds.'),
      rekey: keyPair.optional().describe('Recovery workers: put keys that were wrapped anew beside points.'),
    })
    .default({})
    .describe('A key pair for each kind of access, so that no worker can do what is not its own work.'),
  lock: objectLock
    .optional()
    .describe(
      'Object Lock on what the calendar calls immutable, as it is put: not even our own workers can remove it.',
    ),
  storageClass: z.string().default('STANDARD_IA').describe('For new objects, where the server has storage classes.'),
  sse: z
    .enum(['AES256', 'aws:kms'])
    .default('AES256')
    .describe('Encryption by the server, on top of our own: AES256 or aws:kms.'),
  tags: z
    .record(z.string(), z.string())
    .default({ Lifecycle: 'Archive' })
    .describe('Tags of every object, for lifecycle rules.'),
  partBytes: z
    .int()
    .min(5 * 1024 * 1024)
    .default(16 * 1024 * 1024)
    .describe('Bytes per part of an upload: what a killed worker sends twice at most. At least 5 MiB.'),
  concurrency: z.int().min(1).max(32).default(4).describe('Parts sent at once.'),
});

export const copy = z.discriminatedUnion('kind', [directoryCopy, s3Copy]);
export type CopyPolicy = z.infer<typeof copy>;

const notifyOn = z
  .array(z.enum(['success', 'failure']))
  .default(['success', 'failure'])
  .describe('What is told: success, failure, or both.');

export const notification = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('webhook').describe('An HTTP POST in the form that Slack takes.'),
    url: secretRef.describe('Reference to the URL, which is a secret: whoever has it can post.'),
    secret: secretRef.optional().describe('Reference to a key; signs the body with HMAC-SHA-256.'),
    on: notifyOn,
  }),
  z.strictObject({
    kind: z.literal('email').describe('By SMTP.'),
    host: z.string().describe('The mail server.'),
    port: z.int().min(1).max(65535).default(587).describe('587 for STARTTLS, 465 for TLS, 25 within a network.'),
    security: z
      .enum(['none', 'starttls', 'tls'])
      .default('starttls')
      .describe('none, starttls (refuses to send where the server has none) or tls.'),
    user: z.string().optional().describe('To log in with; left out: without logging in.'),
    password: secretRef.optional().describe('Reference to its password.'),
    from: z.string().describe('The sender.'),
    to: z.array(z.string()).min(1).describe('Everyone who is told.'),
    on: notifyOn,
  }),
]);
export type NotificationPolicy = z.infer<typeof notification>;

const restoreTarget = z.strictObject({
  host: z.string().min(1).describe('As it stands in the URI that a restore goes to.'),
  port: z.int().min(1).max(65535).default(5432).describe('Its port.'),
  user: z.string().min(1).describe('Who logs in there to restore.'),
  password: secretRef
    .optional()
    .describe('Reference to the password of that user. Held by recovery workers, and sent to that server only.'),
});
export type RestoreTarget = z.infer<typeof restoreTarget>;

export const policySchema = z.strictObject({
  version: z.literal(1).describe('Version of this form.'),
  site: z
    .strictObject({ region: z.string().min(1).describe('A copy with another region is off-site.') })
    .describe('Where production runs.'),
  temporal: z
    .strictObject({
      address: z.string().default('127.0.0.1:7233').describe('HOST:PORT of its frontend.'),
      namespace: z.string().default('default').describe('The namespace; it must exist.'),
    })
    .default({ address: '127.0.0.1:7233', namespace: 'default' })
    .describe('Where workflows run.'),
  catalog: z
    .strictObject({ dsn: secretRef.describe('Reference to postgresql://USER:PASSWORD@HOST:PORT/DATABASE.') })
    .describe('The index of recovery points, in a PostgreSQL database. It can be rebuilt from any copy.'),
  keys: z
    .strictObject({
      recipients: z
        .array(z.string().startsWith('age1', 'an age recipient, age1…'))
        .min(1)
        .describe('age recipients (age1…); every point can be opened by each of them. Keep a second one far away.'),
      signing: secretRef.describe('Reference to an Ed25519 key, PEM, PKCS #8. Held by backup workers.'),
      trusted: z
        .array(z.string())
        .min(1)
        .describe('Raw Ed25519 public keys, base64, whose signature makes a point count.'),
      identity: secretRef.describe('Reference to an age identity. Held by validation and recovery workers only.'),
    })
    .describe('Who may open recovery points, and whose are believed.'),
  staging: z
    .strictObject({
      path: z
        .string()
        .startsWith('/', 'an absolute path')
        .describe('Room for the largest point; cleared after each job.'),
    })
    .describe('Per backup host: sealed points wait here until they are validated and copied.'),
  limits: z
    .strictObject({
      backupSlots: z.int().min(1).max(64).default(3).describe('Backups at once in the whole fleet; others queue.'),
      leaseTimeout: duration.default('60s').describe('The slot of a job that is gone is free again within this time.'),
      validationTimeout: duration.default('30m').describe('A validation that takes longer is ended and has failed.'),
    })
    .default({ backupSlots: 3, leaseTimeout: '60s', validationTimeout: '30m' })
    .describe('What the fleet may do at once, and how long things may take.'),
  calendar: calendarPolicy.prefault({}).describe('When backups are made, and how many of each class are kept.'),
  retention: retentionPolicy.prefault({}).describe('What goes, beside those counts.'),
  tiers: tiersPolicy.describe('Kinds of storage, from the quickest to the cheapest, and what they cost.'),
  sources: z.array(source).default([]).describe('What is protected.'),
  copies: z
    .array(copy)
    .min(1)
    .describe('Where every recovery point goes. With production as one: three copies, two media, one off-site.'),
  restoreTargets: z
    .array(restoreTarget)
    .default([])
    .describe('Database servers that restores may go to. When none is named: any, without a password.'),
  restoreFolders: z
    .array(z.string().startsWith('/', 'an absolute path'))
    .default([])
    .describe('Folders that restores may write below. When none is named: anywhere.'),
  notifications: z.array(notification).default([]).describe('Who is told.'),
});
export type Policy = z.infer<typeof policySchema>;
