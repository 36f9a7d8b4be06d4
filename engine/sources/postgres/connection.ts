import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import type { PostgresLogicalSource, PostgresPhysicalSource } from '../../../policies/policy.ts';
import { connectionFailure } from './connection-failure.ts';

/** Where a database is. The password lives only here and in the environment of child processes. */
export interface Connection {
  host: string;
  port: number;
  database: string;
  user: string;
  password?: string;
  sslmode: PostgresLogicalSource['connection']['sslmode'];
  /** Physical replication: the commands of a WAL sender instead of SQL, and no database. */
  replication?: boolean;
  /** Settings for the session, as `-c NAME=VALUE …`; they come before those of the database and the role. */
  options?: string;
}

type ResolveSecret = (ref: string) => Promise<string>;

/** Resolves the policy's password reference. */
export async function connectionOf(policy: PostgresLogicalSource, resolveSecret: ResolveSecret): Promise<Connection> {
  const { password, ...rest } = policy.connection;
  return { ...rest, ...(password === undefined ? {} : { password: await resolveSecret(password) }) };
}

/** The same for a whole cluster, to which one connects for replication. */
export async function replicationOf(policy: PostgresPhysicalSource, resolveSecret: ResolveSecret): Promise<Connection> {
  const { password, ...rest } = policy.connection;
  return {
    ...rest,
    database: 'replication',
    replication: true,
    ...(password === undefined ? {} : { password: await resolveSecret(password) }),
  };
}

const sslmodes: readonly string[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];

/** From a postgresql:// URI; host may also be a socket's folder, as `?host=/run/postgresql`. Throws UsageInvalid. */
export function connectionFromUri(uri: string): Connection {
  const found = parseUri(uri);
  if (found) return found;
  throw new Failure('UsageInvalid', 'The database to restore into is not named by a postgresql:// URI.', {
    next: 'Write it like postgresql://user@host:5432/database, and create that database empty first.',
  });
}

/** Null for anything else: the errors of URL hold the whole text, with the password, and are not passed on. */
function parseUri(uri: string): Connection | null {
  const url = URL.parse(uri);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) return null;
  try {
    const param = (name: string) => url.searchParams.get(name) ?? undefined;
    const host = param('host') ?? decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1');
    const sslmode = param('sslmode') ?? 'prefer';
    const port = Number(param('port') ?? (url.port || 5432));
    if (host === '' || !sslmodes.includes(sslmode) || !Number.isInteger(port)) return null;
    const user = param('user') ?? (decodeURIComponent(url.username) || 'postgres');
    const password = param('password') ?? (url.password === '' ? undefined : decodeURIComponent(url.password));
    return {
      host,
      port,
      database: param('dbname') ?? (decodeURIComponent(url.pathname.slice(1)) || user),
      user,
      ...(password === undefined ? {} : { password }),
      sslmode: sslmode as Connection['sslmode'],
    };
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

/** libpq's environment for client tools. */
export function libpqEnvironment(c: Connection): NodeJS.ProcessEnv {
  const rootCertificate = process.env.PGSSLROOTCERT;
  return {
    PATH: process.env.PATH,
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
    PGHOST: c.host,
    PGPORT: String(c.port),
    PGUSER: c.user,
    PGDATABASE: c.database,
    PGSSLMODE: c.sslmode,
    ...(rootCertificate === undefined ? {} : { PGSSLROOTCERT: rootCertificate }),
    PGCONNECT_TIMEOUT: '10',
    PGAPPNAME: 'backup-coordinator',
    // What text looks like must not depend on the server's settings: the rows of two servers are compared.
    PGTZ: 'UTC',
    PGOPTIONS: '-c bytea_output=hex',
    ...(c.password === undefined ? {} : { PGPASSWORD: c.password }),
  };
}

/** Connects. Throws SourceUnreachable, SourceAuthentication, SourceMissing. The caller ends the client. */
export async function connect(c: Connection, name: string): Promise<pg.Client> {
  try {
    for (const ssl of await tlsOptions(c)) {
      try {
        return await open(c, ssl);
      } catch (error) {
        if (c.sslmode !== 'prefer' || ssl === false || !/does not support SSL/.test(String(error))) throw error;
      }
    }
  } catch (error) {
    throw await connectionFailure(error, c, name, () => databasesOf(c, name));
  }
  throw new Error('no way to connect was tried');
}

type Tls = ConnectionOptions | false;

/** What is tried, in order, as libpq does. */
async function tlsOptions({ host, sslmode }: Connection): Promise<Tls[]> {
  if (host.startsWith('/') || sslmode === 'disable') return [false];
  if (sslmode === 'prefer') return [{ rejectUnauthorized: false }, false];
  if (sslmode === 'require') return [{ rejectUnauthorized: false }];
  const file = process.env.PGSSLROOTCERT;
  const ca = file && file !== 'system' ? { ca: await readFile(file) } : {};
  return [
    { rejectUnauthorized: true, ...ca, ...(sslmode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}) },
  ];
}

async function open(c: Connection, ssl: Tls): Promise<pg.Client> {
  const config: pg.ClientConfig & { replication?: string } = {
    host: c.host,
    port: c.port,
    database: c.database,
    user: c.user,
    // Without one, pg and the tools alike look into ~/.pgpass.
    ...(c.password === undefined ? {} : { password: c.password }),
    ssl,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    application_name: 'backup-coordinator',
    ...(c.replication ? { replication: 'true' } : {}),
    ...(c.options === undefined ? {} : { options: c.options }),
  };
  const client = new pg.Client(config);
  // A connection that breaks while idle also fails the query in which it is missed.
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

async function databasesOf(c: Connection, name: string): Promise<string[]> {
  const client = await connect({ ...c, database: 'postgres' }, name);
  try {
    const { rows } = await client.query('SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname');
    return rows.map((r) => String(r.datname));
  } finally {
    await client.end();
  }
}
