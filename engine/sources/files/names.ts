import { readFileSync } from 'node:fs';

/** User and group names by id, from /etc/passwd and /etc/group; the empty string for ids without a name. */
export interface OwnerNames {
  user(uid: number): string;
  group(gid: number): string;
}

export function readOwnerNames(): OwnerNames {
  const users = table('/etc/passwd');
  const groups = table('/etc/group');
  return { user: (uid) => users.get(uid) ?? '', group: (gid) => groups.get(gid) ?? '' };
}

function table(file: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [name, , id] = line.split(':');
    if (name && id && !names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}
