import pg from 'pg';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { PostgresLogicalSource } from '../../../policies/policy.ts';

/** Where a database is. The password lives only here and in the environment of child processes. */
export interface Connection {
  host: string;
  port: number;
  database: string;
  user: string;
  password?: string;
  sslmode: PostgresLogicalSource['connection']['sslmode'];
}

/** Resolves the policy's password reference. */
export async function connectionOf(
  policy: PostgresLogicalSource,
  resolveSecret: (ref: string) => Promise<string>,
): Promise<Connection> {
  const { password, ...rest } = policy.connection;
  return { ...rest, ...(password === undefined ? {} : { password: await resolveSecret(password) }) };
}

/** From a postgresql:// URI. Throws UsageInvalid. */
export function connectionFromUri(uri: string): Connection {
  try {
    const url = new URL(uri);
    if (!/^postgres(ql)?:$/.test(url.protocol)) throw new TypeError('another scheme');
    return {
      host: url.hostname,
      port: Number(url.port || 5432),
      database: decodeURIComponent(url.pathname.slice(1)) || 'postgres',
      user: decodeURIComponent(url.username) || 'postgres',
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
      sslmode: (url.searchParams.get('sslmode') as Connection['sslmode'] | null) ?? 'prefer',
    };
  } catch (error) {
    throw new Failure('UsageInvalid', 'The database to restore into is not named by a postgresql:// URI.', {
      next: 'Write it like postgresql://user@host:5432/database, and create that database empty first.',
      cause: error,
    });
  }
}

/** libpq's environment for client tools. */
export function libpqEnvironment(c: Connection): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
    PGHOST: c.host,
    PGPORT: String(c.port),
    PGUSER: c.user,
    PGDATABASE: c.database,
    PGSSLMODE: c.sslmode,
    PGCONNECT_TIMEOUT: '10',
    PGAPPNAME: 'backup-coordinator',
    PGOPTIONS: '-c synchronize_seqscans=off',
    ...(c.password === undefined ? {} : { PGPASSWORD: c.password }),
  };
}

/** Connects. Throws SourceUnreachable, SourceAuthentication, SourceMissing. The caller ends the client. */
export async function connect(c: Connection, name: string): Promise<pg.Client> {
  const tls = c.sslmode !== 'disable' && c.sslmode !== 'prefer';
  const verify = c.sslmode === 'verify-ca' || c.sslmode === 'verify-full';
  const client = new pg.Client({
    host: c.host,
    port: c.port,
    database: c.database,
    user: c.user,
    ...(c.password === undefined ? {} : { password: c.password }),
    ssl: tls ? { rejectUnauthorized: verify } : false,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    application_name: 'backup-coordinator',
  });
  // A connection that breaks while idle also fails the query in which it is missed.
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw await connectionFailure(error, c, name);
  }
}

async function connectionFailure(error: unknown, c: Connection, name: string): Promise<Failure> {
  if (isFailure(error)) return error;
  const e = error as { code?: string; message?: string };
  const where = `${c.host}:${c.port}`;
  switch (e.code) {
    case '28P01':
    case '28000':
      return new Failure('SourceAuthentication', `${name}: PostgreSQL at ${where} refuses user "${c.user}" (${e.code}).`, {
        next: 'Check the user, what its password reference resolves to, and pg_hba.conf.',
      });
    case '3D000':
      return new Failure('SourceMissing', `${name}: PostgreSQL at ${where} has no database "${c.database}".${await others(c, name)}`, {
        next: 'Correct connection.database in the policy file, or create it.',
      });
    default: {
      const needsPassword = /password must be a string|no password/i.test(e.message ?? '');
      if (needsPassword) {
        return new Failure('SourceAuthentication', `${name}: PostgreSQL at ${where} wants a password for "${c.user}", and none is set.`, {
          next: 'Set connection.password to env:NAME or file:PATH in the policy file.',
        });
      }
      return new Failure('SourceUnreachable', `${name}: PostgreSQL does not answer at ${where} (${e.code ?? e.message ?? 'no answer'}).`, {
        next: 'Is the server up, and are host, port and firewall right? It is tried again by itself.',
      });
    }
  }
}

/** The databases there are, when another one can be asked. */
async function others(c: Connection, name: string): Promise<string> {
  if (c.database === 'postgres') return '';
  try {
    const client = await connect({ ...c, database: 'postgres' }, name);
    try {
      const { rows } = await client.query('SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname LIMIT 10');
      return ` It has: ${rows.map((r) => r.datname).join(', ')}.`;
    } finally {
      await client.end();
    }
  } catch {
    // Only a hint; without it the message still says what is wrong.
    return '';
  }
}
