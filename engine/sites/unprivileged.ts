import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface UnprivilegedUser {
  name: string;
  uid: number;
  gid: number;
}

const ownName = 'backup-postgres';

/** PostgreSQL does not run as root. As root: the user `postgres`, or one of our own that is made; otherwise null. */
export async function unprivilegedUser(): Promise<UnprivilegedUser | null> {
  if (process.getuid?.() !== 0) return null;
  const found = (await lookUp('postgres')) ?? (await lookUp(ownName));
  if (found) return found;
  await run('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', ownName]);
  const made = await lookUp(ownName);
  if (made) return made;
  throw new Error(`useradd did not make the user ${ownName}`);
}

async function lookUp(name: string): Promise<UnprivilegedUser | null> {
  for (const line of (await readFile('/etc/passwd', 'utf8')).split('\n')) {
    const [user, , uid, gid] = line.split(':');
    if (user === name) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return null;
}
