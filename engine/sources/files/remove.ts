import { chmod, readdir, rm } from 'node:fs/promises';

const slash = Buffer.of(0x2f);

/** Removes a tree that we made, also where the restored modes of its folders forbid that to all but root. */
export async function removeTree(root: string | Buffer): Promise<void> {
  const options = { recursive: true, force: true };
  try {
    await rm(root, options);
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await unlock(Buffer.from(root));
    await rm(root, options);
  }
}

/** Removes what a folder holds, but not the folder; the entry of the given name goes last. An absent folder is empty. */
export async function emptyFolder(root: string, last?: string): Promise<void> {
  const names = await readdir(root, { encoding: 'buffer' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const isLast = (name: Buffer) => name.toString() === last;
  for (const name of [...names.filter((n) => !isLast(n)), ...names.filter(isLast)]) {
    await removeTree(Buffer.concat([Buffer.from(root), slash, name]));
  }
}

async function unlock(folder: Buffer): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
    if (entry.isDirectory()) await unlock(Buffer.concat([folder, slash, entry.name]));
  }
}
