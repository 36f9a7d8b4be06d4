import { Failure, isFailure } from '../../../policies/failure.ts';
import { nearest } from '../../../policies/spelling.ts';

interface Asked {
  host: string;
  port: number;
  database: string;
  user: string;
  replication?: boolean;
}

/** Whether this says that a connection has broken: while something was asked, or before it was. */
export function isBroken({ code, message }: { code: string | undefined; message: string | undefined }): boolean {
  const said = /^(Connection terminated|read ECONNRESET|write EPIPE|Client has encountered a connection error)/;
  // Class 57: the server is going down, or has ended the session.
  return said.test(message ?? '') || (code?.startsWith('57') ?? false);
}

/**
 * What an attempt to connect ended with, as a Failure that names server, reason and next step.
 *
 * @param databases asks the server which databases there are, for a hint
 */
export async function connectionFailure(
  error: unknown,
  c: Asked,
  name: string,
  databases: () => Promise<string[]>,
): Promise<Failure> {
  if (isFailure(error)) return error;
  const e = error as { code?: string; message?: string };
  const where = `${c.host}:${c.port}`;
  const replication = c.replication ? replicationFailure(e, c, name) : null;
  if (replication) return replication;
  switch (e.code) {
    case '28P01':
    case '28000':
      return new Failure(
        'SourceAuthentication',
        `${name}: PostgreSQL at ${where} refuses user "${c.user}" (${e.code}).`,
        {
          next: 'Check the user, what its password reference resolves to, and pg_hba.conf.',
        },
      );
    case '3D000':
      return new Failure(
        'SourceMissing',
        `${name}: PostgreSQL at ${where} has no database "${c.database}".${await hint(c, databases)}`,
        {
          next: 'Correct connection.database in the policy file, or create it.',
        },
      );
    default: {
      const needsPassword = /password must be a (non-empty )?string|no password|empty password/i.test(e.message ?? '');
      if (needsPassword) {
        return new Failure(
          'SourceAuthentication',
          `${name}: PostgreSQL at ${where} wants a password for "${c.user}", and none is set.`,
          {
            next: 'Set connection.password to env:NAME or file:PATH in the policy file.',
          },
        );
      }
      return new Failure(
        'SourceUnreachable',
        `${name}: PostgreSQL does not answer at ${where} (${e.message || e.code || 'no answer'}).`,
        {
          next: 'Is the server up, and are host, port and firewall right? It is tried again by itself.',
        },
      );
    }
  }
}

/** What only connections for replication are refused for; null for anything else. */
function replicationFailure(e: { code?: string; message?: string }, c: Asked, name: string): Failure | null {
  const where = `${c.host}:${c.port}`;
  switch (e.code) {
    case '28000':
      // Of pg_hba.conf; the message may be in any language.
      return new Failure(
        'SourceAuthentication',
        `${name}: PostgreSQL at ${where} lets user "${c.user}" make no replication connection (${e.message ?? e.code}).`,
        {
          next: `Does the role exist? Then add a line "host replication ${c.user} ADDRESS scram-sha-256" to pg_hba.conf, and reload the server.`,
        },
      );
    case '42501':
      return new Failure(
        'SourceAuthentication',
        `${name}: user "${c.user}" may not replicate from PostgreSQL at ${where}.`,
        {
          next: `ALTER ROLE "${c.user}" REPLICATION; then run the backup again.`,
        },
      );
    case '53300': {
      const limit = /max_wal_senders\D+(\d+)/.exec(e.message ?? '')?.[1];
      if (limit === '0') {
        return new Failure(
          'SourceUnreadable',
          `${name}: PostgreSQL at ${where} takes no replication connections: max_wal_senders is 0 (as wal_level = minimal demands).`,
          { next: 'Set wal_level = replica and max_wal_senders = 10 there, and restart the server.' },
        );
      }
      return new Failure(
        'SourceUnreachable',
        `${name}: PostgreSQL at ${where} has no connection left for replication${limit ? `: all ${limit} of max_wal_senders are taken` : ''} (${e.message}).`,
        { next: 'Raise max_wal_senders there (it needs a restart). It is tried again by itself.' },
      );
    }
    default:
      return null;
  }
}

/** The database that was probably meant, or those there are, when the server can be asked. */
async function hint(c: Asked, databases: () => Promise<string[]>): Promise<string> {
  if (c.database === 'postgres') return '';
  try {
    const names = await databases();
    const meant = nearest(c.database, names);
    if (meant) return ` Did you mean "${meant}"?`;
    return ` It has: ${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}.`;
  } catch {
    // Only a hint; without it the message still says what is wrong.
    return '';
  }
}
