import type pg from 'pg';
import { isFailure } from '../../../policies/failure.ts';
import type { PostgresBinaries } from '../../sites/index.ts';
import { type Connection, libpqEnvironment } from '../postgres/connection.ts';
import { quoted, unquoted } from '../postgres/quoting.ts';
import { runTool, tool } from '../postgres/tools.ts';
import { splitStatements } from './statements.ts';

const identifier = String.raw`("(?:[^"]|"")*"|[^\s;,"]+)`;

export interface Globals {
  sql: string;
  warnings: string[];
}

/**
 * Roles, memberships and tablespaces as SQL, by pg_dumpall. Only a superuser reads the roles' passwords; others get the
 * roles without them, and a warning.
 */
export async function dumpGlobals(c: Connection, tools: PostgresBinaries, signal: AbortSignal): Promise<Globals> {
  const run = (more: string[]) =>
    runTool({
      program: tool(tools, 'pg_dumpall'),
      args: ['--globals-only', '--no-password', `--database=${c.database}`, ...more],
      env: libpqEnvironment(c),
      signal,
    });
  try {
    return { sql: await run([]), warnings: [] };
  } catch (error) {
    if (!isFailure(error, 'SourceUnreadable')) throw error;
    const sql = await run(['--no-role-passwords']);
    return { sql, warnings: [`roles were saved without their passwords, which user "${c.user}" may not read`] };
  }
}

/** The roles that a script of globals creates, but for the superuser every cluster has. */
export function rolesOf(globals: string): string[] {
  const create = new RegExp(`^CREATE ROLE ${identifier}`);
  return splitStatements(globals)
    .map((statement) => create.exec(statement)?.[1])
    .filter((name) => name !== undefined)
    .map(unquoted)
    .filter((name) => name !== 'postgres');
}

/**
 * Makes the roles of a script of globals on a server of our own. Tablespaces are left out, for they name folders of
 * another machine; so is the superuser `postgres`, whom some clouds deprive of his rights. What this server does not
 * know (a setting of an extension) is passed over: a role that is needed and missing fails the restore.
 */
export async function applyGlobals(client: pg.Client, globals: string): Promise<void> {
  const leftOut = /^(SET |(CREATE|ALTER|DROP|GRANT [\s\S]* ON|COMMENT ON) TABLESPACE |(CREATE|ALTER) ROLE postgres\b)/;
  for (const statement of splitStatements(globals)) {
    if (leftOut.test(statement)) continue;
    await client.query(statement).catch(passOver);
  }
}

/** Roles that statements of a schema script name as owners, grantees or users of policies. */
export function rolesNamedIn(script: string): string[] {
  const names = new Set<string>();
  const places = [
    /^ALTER [\s\S]* OWNER TO (?<names>.+)$/,
    /^ALTER DEFAULT PRIVILEGES FOR ROLE (?<names>.+?) (IN SCHEMA|GRANT|REVOKE) /,
    /^(?:ALTER DEFAULT PRIVILEGES [\s\S]*)?(?:GRANT|REVOKE) [\s\S]* (?:TO|FROM) (?<names>.+?)(?: WITH GRANT OPTION)?$/,
    /^CREATE POLICY [\s\S]*? TO (?<names>.+?)(?: USING [\s\S]*| WITH CHECK [\s\S]*)?$/,
    /^CREATE USER MAPPING FOR (?<names>.+?) SERVER /,
  ];
  for (const statement of splitStatements(script)) {
    for (const place of places) {
      const list = place.exec(statement)?.groups?.names ?? '';
      for (const [name] of list.matchAll(new RegExp(identifier, 'g'))) names.add(unquoted(name));
    }
  }
  return [...names].filter((n) => n !== 'PUBLIC' && n !== 'postgres' && !n.startsWith('pg_'));
}

/** Makes the roles that are not there yet, with no rights, so that things can belong to them. */
export async function ensureRoles(client: pg.Client, names: string[]): Promise<void> {
  const { rows } = await client.query('SELECT rolname FROM pg_roles');
  const there = new Set(rows.map((r) => r.rolname));
  for (const name of names) if (!there.has(name)) await client.query(`CREATE ROLE ${quoted(name)}`).catch(passOver);
}

/** An SQL error says nothing yet; a lost connection does. */
function passOver(error: unknown): void {
  if (!/^[0-9A-Z]{5}$/.test((error as { code?: string }).code ?? '')) throw error;
}
