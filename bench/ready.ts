import path from 'node:path';
import { freePort, type PostgresInstance, unprivilegedUser } from '../engine/sites/index.ts';
import { type Cost, measure } from './measure.ts';

/**
 * What it takes until a server runs on a restored cluster and takes writes: the restore's command line, then the server,
 * which replays what WAL it needs. The server is stopped afterwards, which does not count.
 *
 * @param original the server that was backed up; its programs are used
 * @param into where the command restores to
 */
export async function untilReady(restore: string[], original: PostgresInstance, into: string): Promise<Cost> {
  const user = await unprivilegedUser();
  const as = user ? ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : [];
  const control = [...as, path.join(original.binDir, 'pg_ctl'), '-D', into, '-s', '-w', '-t', '300'];
  const port = String(await freePort());
  const settings = `-p ${port} -c unix_socket_directories= -c listen_addresses=127.0.0.1 -c archive_mode=off -c shared_buffers=256MB`;
  const isReady = [path.join(original.binDir, 'psql'), '-h', '127.0.0.1', '-p', port, '-U', 'postgres', '-Atc'];
  const script = `"$@" && ${quoted([...control, '-l', path.join(into, 'ready.log'), '-o', settings, 'start'])} &&
    until [ "$(${quoted([...isReady, 'SELECT pg_is_in_recovery()'])} postgres)" = f ]; do sleep 0.02; done`;
  try {
    return await measure({ argv: ['bash', '-c', script, 'restore', ...restore], cwd: '/' });
  } finally {
    await measure({ argv: [...control, '-m', 'immediate', 'stop'], cwd: '/' });
  }
}

const quoted = (argv: string[]) => argv.map((part) => `'${part.replaceAll("'", `'\\''`)}'`).join(' ');
