import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import pg from 'pg';

/** The logins that the workers have at a PostgreSQL server of the stack; none of them is a superuser. */

/**
 * Makes the login `backup`, which reads everything in the databases given and writes nothing. It is no superuser:
 * pg_read_all_data lets it read every table, BYPASSRLS every row, and reading pg_authid is what saving the roles with
 * their passwords takes (pg_dumpall --globals-only), REPLICATION what a base backup takes. Idempotent. @param uri a superuser's, of the `postgres` database
 */
export async function ensureBackupLogin(uri: string, password: string, databases: string[]): Promise<void> {
  await asSuperuser(uri, async (query) => {
    await ensureLogin(query, 'backup', password, 'BYPASSRLS REPLICATION');
    await query('GRANT pg_read_all_data TO backup');
    for (const name of databases) await query(`GRANT CONNECT ON DATABASE ${pg.escapeIdentifier(name)} TO backup`);
  });
  for (const name of databases) {
    const own = new URL(uri);
    own.pathname = `/${encodeURIComponent(name)}`;
    // Rights on a system catalog hold in one database only, also where the catalog is shared by all.
    await asSuperuser(own.href, (query) => query('GRANT SELECT ON pg_catalog.pg_authid TO backup'));
  }
}

/** Makes the login `catalog`, which owns the database of that name and reaches nothing else. Idempotent. */
export async function ensureCatalogLogin(uri: string, password: string): Promise<void> {
  await asSuperuser(uri, async (query) => {
    const { rowCount } = await query("SELECT FROM pg_database WHERE datname = 'catalog'");
    if (!rowCount) await query('CREATE DATABASE catalog');
    await ensureLogin(query, 'catalog', password, 'CONNECTION LIMIT 50');
    await query('ALTER DATABASE catalog OWNER TO catalog');
    await query('REVOKE ALL ON DATABASE catalog FROM PUBLIC');
  });
}

type Query = (text: string, values?: unknown[]) => Promise<pg.QueryResult>;

async function ensureLogin(query: Query, name: string, password: string, attributes: string): Promise<void> {
  const { rowCount } = await query('SELECT FROM pg_roles WHERE rolname = $1', [name]);
  const role = pg.escapeIdentifier(name);
  if (!rowCount) await query(`CREATE ROLE ${role}`);
  await query(
    `ALTER ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE ${attributes} PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`,
  );
}

/** What the server keeps of a password (RFC 5803), so that the password itself is in no statement and no log of it. */
function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64');
  const server = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`;
}

async function asSuperuser(uri: string, body: (query: Query) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    await body((text, values) => client.query(text, values));
  } finally {
    await client.end();
  }
}
