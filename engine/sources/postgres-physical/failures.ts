import type pg from 'pg';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { PostgresPhysicalSource } from '../../../policies/policy.ts';
import type { Connection } from '../postgres/connection.ts';
import { isBroken } from '../postgres/connection-failure.ts';

/** What the server says of pages that do not match their checksums. */
export interface Damage {
  /** Throws SourceDamaged where the policy refuses damage, or the error itself when it is none of damage. */
  judge(error: unknown, policy: Pick<PostgresPhysicalSource, 'name' | 'onDamage'>): void;
  pages(): number;
}

const dataCorrupted = 'XX001';

/**
 * Listens to the server's warnings during a base backup. It reads a page that fails twice, for a page may be being
 * written; it goes on to the end, and only then says that the backup is none.
 */
export function damageOf(client: pg.Client, warn: (line: string) => void): Damage {
  const said: string[] = [];
  let total = 0;
  let pages = 0;
  client.on('notice', (notice) => {
    // Notices and information have the class 00, warnings 01.
    if (notice.code?.startsWith('00')) return;
    const line = `the server warns: ${notice.message ?? notice.code}`;
    said.push(line);
    warn(line);
    // The sum comes last, by this function and no other, in whatever language.
    if (notice.routine === 'perform_base_backup') total = Number(/\d+/.exec(notice.message ?? '')?.[0] ?? 0);
  });
  return {
    judge(error, { name, onDamage }) {
      if ((error as { code?: string }).code !== dataCorrupted) throw error;
      // A single one gets no sum.
      pages = Math.max(1, total);
      if (onDamage === 'warn') return;
      throw new Failure(
        'SourceDamaged',
        `${name}: ${pages} ${pages === 1 ? 'page does not match its' : 'pages do not match their'} checksum: ${said.slice(0, 3).join('; ')}`,
        {
          next: 'Look at the disk, and restore what is damaged from the last good point. To back up all the same, set onDamage: warn for this source.',
          details: { damagedPages: pages },
        },
      );
    },
    pages: () => pages,
  };
}

/** An error of the server or the connection while the cluster was being read. */
export function backupFailure(error: unknown, { host, port, user }: Connection, name: string): unknown {
  if (isFailure(error)) return error;
  const { code, message } = error as { code?: string; message?: string };
  const where = `PostgreSQL at ${host}:${port}`;
  const said = message || code;
  switch (code) {
    case '42501':
      return new Failure('SourceAuthentication', `${name}: user "${user}" may not back up ${where} (${said}).`, {
        next: `ALTER ROLE "${user}" REPLICATION; then run the backup again.`,
        cause: error,
      });
    case '58P01':
      return new Failure('SourceFailed', `${name}: ${where} had removed WAL that the backup needs (${said}).`, {
        next: 'Leave a replication slot free (max_replication_slots), raise max_slot_wal_keep_size or wal_keep_size there. It is tried again by itself.',
        cause: error,
      });
  }
  // SQLSTATE: the server has refused, or is going down (class 57).
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('57')) {
    return new Failure('SourceFailed', `${name}: the base backup of ${where} failed (${code}): ${said}`, {
      next: 'Look at its message, and into the log of the server; it is tried again by itself.',
      cause: error,
    });
  }
  if (isBroken({ code, message })) {
    return new Failure('SourceUnreachable', `${name}: the connection to ${where} broke during the backup (${said}).`, {
      next: 'Is the server up, and the network sound? It is tried again by itself.',
      cause: error,
    });
  }
  return error;
}
