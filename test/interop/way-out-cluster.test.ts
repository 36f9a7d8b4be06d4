import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { unprivilegedUser } from '../../engine/sites/index.ts';
import { freePort } from '../../engine/sites/ports.ts';
import { findPostgres } from '../../scripts/stack/find.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { fillCluster, makeCluster, password } from '../integration/source-physical-fixture.ts';
import { makeShelf, run } from './way-out-fixture.ts';

test('restore.mjs brings a PostgreSQL cluster back from a chain, and the commands that it prints start it', async () => {
  const { binDir } = await findPostgres();
  const cluster = await makeCluster(binDir);
  const shelf = await makeShelf();
  // A place that PostgreSQL's own user can reach.
  const place = mkdtempSync('/tmp/way-out-cluster-');
  chmodSync(place, 0o755);
  const into = path.join(place, 'data');
  const env = { ...process.env, PATH: `${binDir}:${process.env.PATH}`, PGPASSWORD: password };
  const user = await unprivilegedUser();
  const asUser = user ? ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : [];
  try {
    await fillCluster(cluster);
    const chained = (since: SealedSource | null) =>
      sealSource(shelf.place, cluster.source(), undefined, undefined, { since, trusted: [shelf.trusted] });
    const full = await chained(null);
    shelf.publish(full.point);
    // Pages of the same blocks lie in one point and in the other.
    await cluster.sql(
      'Shop é',
      `UPDATE goods SET code = 'new' WHERE id % 5000 = 1`,
      'DELETE FROM elsewhere WHERE id = 2',
    );
    const { point } = await chained(full);
    shelf.publish(point);
    const checked = await run([process.execPath, shelf.scriptFile, 'verify', shelf.store, point.id, ...shelf.keys]);
    expect(checked).toMatchObject({ code: 0, stderr: '' });
    const args = ['restore', shelf.store, point.id, '--identity', shelf.identityFile, '--trusted', shelf.trusted];
    const { code, stdout, stderr } = await run([process.execPath, shelf.scriptFile, ...args, '--into', into]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });

    const commands = stdout.split('\n').flatMap((line) => (/^ {2}[^ #]/.test(line) ? [line.trim()] : []));
    expect(commands.map((command) => command.split(' ')[0])).toEqual(['mv', 'pg_verifybackup', 'pg_ctl']);
    const port = await freePort();
    // The server's user may not make folders beside the restored one; that is root's to do.
    if (user) await run(['chown', `${user.uid}:${user.gid}`, place]);
    for (const command of commands) {
      const settings = `archive_mode=off -c port=${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=`;
      const ended = await run([...asUser, 'sh', '-c', command.replace('archive_mode=off', settings)], {
        env,
        cwd: place,
      });
      expect(`${command}: ${ended.code} ${ended.stderr}`).toBe(`${command}: 0 `);
    }
    const uri = (database: string) => `postgresql://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`;
    const count = async (database: string, table: string) => {
      const { stdout: rows } = await run(['psql', uri(database), '-Atc', `SELECT count(*) FROM ${table}`], { env });
      return rows.trim();
    };
    expect(await count('Shop é', 'goods')).toBe('20000');
    expect(await count('Shop é', `goods WHERE code = 'new'`)).toBe('4');
    expect(await count('Shop é', 'elsewhere')).toBe('9999');
    expect(await count('archive', 'old')).toBe('1000');
  } finally {
    await run([...asUser, 'pg_ctl', 'stop', '--pgdata', into, '--mode=immediate'], { env, cwd: place });
    rmSync(place, { recursive: true, force: true });
    await shelf.remove();
    await cluster.remove();
  }
}, 300_000);
