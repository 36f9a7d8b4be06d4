import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { plainName } from './point.mjs';
import { damaged, Problem } from './problem.mjs';
import { printable, shellWord } from './text.mjs';

/** Parts (docs/format.md, section 6) as files, and what to do with what came back of PostgreSQL. */

/** @typedef {import('./content.mjs').OpenPoint} OpenPoint */

/**
 * Writes every part into a file of its name.
 *
 * @param {OpenPoint} open @param {string} into an empty folder
 * @param {{ only: string[], onBytes: (bytes: number) => void, onLost: (line: string) => void }} options
 */
export function restoreParts(open, into, { only, onBytes, onLost }) {
  let parts = 0;
  let lost = 0;
  for (const { name, chunks } of partsOf(open)) {
    if (only.length > 0 && !only.includes(name)) continue;
    parts++;
    const file = join(into, name);
    const fd = openSync(file, 'wx', 0o600);
    try {
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
        onBytes(chunk.length);
      }
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'damage') throw error;
      lost++;
      // Half a dump looks like a whole one.
      unlinkSync(file);
      onLost(`${name}: ${error.message}`);
    } finally {
      closeSync(fd);
    }
  }
  return { entries: parts, lost, missing: [] };
}

/** One entry's bytes, piece by piece. @param {OpenPoint} open @param {string} path @returns {Generator<Uint8Array>} */
export function* contentOf(open, path) {
  const wanted = Buffer.from(path);
  let found = false;
  for (const item of open.items()) {
    if (item.kind === 'entry') {
      if (found) return;
      found = item.entry.path.equals(wanted) && item.entry.type === 'file';
    } else if (found && item.kind === 'block') yield open.read(item.block);
  }
  if (!found)
    throw new Problem(
      'unknown',
      `${open.point.name} holds no file ${printable(path)}.`,
      'The command list, given the point, shows what it holds.',
    );
}

/** @param {OpenPoint} open */
function* partsOf(open) {
  /** @type {string[]} */
  const names = [];
  for (const item of open.items()) {
    if (item.kind !== 'entry') continue;
    const name = item.entry.path.toString();
    if (item.entry.type !== 'file' || !plainName.test(name))
      throw damaged(
        `The manifest names "${printable(name)}", which is no part.`,
        'Do not use this recovery point; find out who wrote it.',
      );
    names.push(name);
  }
  for (const name of names) yield { name, chunks: contentOf(open, name) };
}

/**
 * The commands that bring PostgreSQL back from what was restored; none for other kinds of sources.
 *
 * @param {import('./point.mjs').Backup} backup @param {string} into where it lies
 * @param {string[]} names what lies there
 */
export function nextCommands(backup, into, names) {
  if (backup.source.kind === 'postgres-logical') return databaseCommands(backup, into, names);
  return backup.source.kind === 'postgres-physical' ? clusterCommands(backup, into) : [];
}

/** @param {import('./point.mjs').Backup} backup @param {string} into @param {string[]} names */
function databaseCommands({ facts, content }, into, names) {
  const database = shellWord(String(facts.database ?? 'restored'));
  const dump = names.find((name) => name === 'database.dump' || name === 'database.dir');
  if (!dump) return [];
  const file = (/** @type {string} */ name) => shellWord(join(into, name));
  const how = content.format === 'pax-tar' ? '--jobs=4' : '--single-transaction';
  return [
    `# Made by pg_dump ${printable(String(facts.toolMajor ?? ''))}: restore with tools of that version or a newer one.`,
    '# Name the server by PGHOST, PGPORT and PGUSER (a superuser).',
    ...(names.includes('globals.sql')
      ? [
          '# Roles and tablespaces; errors about those that exist already do no harm.',
          `psql --dbname=postgres --file=${file('globals.sql')}`,
        ]
      : []),
    `createdb --template=template0 -- ${database}`,
    `pg_restore --exit-on-error ${how} --no-tablespaces --dbname=${database} ${file(dump)}`,
    `vacuumdb --analyze-in-stages --dbname=${database}`,
  ];
}

/** @param {import('./point.mjs').Backup} backup @param {string} into */
function clusterCommands({ facts }, into) {
  const folder = shellWord(into);
  return [
    `# A data directory of PostgreSQL ${printable(String(facts.serverMajor ?? ''))}: that very version starts it.`,
    ...tablespacesOf(facts.tablespaces).flatMap(({ oid, location }) => {
      const link = shellWord(join(into, 'pg_tblspc', oid));
      const place = shellWord(`${into}.tablespace-${oid}`);
      return [`# The tablespace that lay in ${printable(location)}:`, `mv ${link} ${place} && ln -s ${place} ${link}`];
    }),
    `pg_verifybackup ${folder}`,
    '# Where postgresql.conf and pg_hba.conf lay elsewhere (on Debian in /etc/postgresql), put them there first.',
    '# Start it as the user that PostgreSQL runs as; the files must be his: chown -R postgres: FOLDER',
    `pg_ctl start --wait --pgdata=${folder} --log=${shellWord(`${into}.log`)} --options='-c archive_mode=off'`,
  ];
}

/** @param {unknown} fact @returns {{ oid: string, location: string }[]} */
function tablespacesOf(fact) {
  try {
    const list = JSON.parse(String(fact ?? '[]'));
    return Array.isArray(list) ? list.filter((t) => /^\d+$/.test(t?.oid) && typeof t.location === 'string') : [];
  } catch {
    // Not ours to judge: the folders are there whatever it says.
    return [];
  }
}
