import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, constants, mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { workflowBuildId } from './version.ts';

/**
 * Workflows run from one file that is bundled of their code. Bundling takes seconds and some 250 MiB, which a worker
 * would then hold for good: so another process does it, once for each version of the code, and workers that are started
 * after it (again after a kill, too) find the file.
 */

/** What a worker is told of its workflows. */
export type Workflows = { workflowBundle: { codePath: string } } | { workflowsPath: string };

/** The file that exports all workflows; `pinned`: each of them stays with the version that began it. */
export function workflowsEntry({ pinned }: { pinned: boolean }): string {
  return path.join(import.meta.dirname, '..', 'workflows', pinned ? 'pinned.ts' : 'index.ts');
}

const folder = () =>
  path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'backup-coordinator', 'workflows');

/** Bundles that no worker was started with for so long are removed when another is made. */
const keptMs = 30 * 24 * 3_600_000;

/**
 * Finds the bundle of an entry file, or has it made. Where nothing can be kept, the worker is to bundle by itself.
 *
 * @param entry absolute path of the file that exports the workflows
 */
export async function bundledWorkflows(entry: string): Promise<Workflows> {
  const file = path.join(folder(), `${await versionOf(entry)}.js`);
  if (await touch(file)) return { workflowBundle: { codePath: file } };
  try {
    await mkdir(folder(), { recursive: true });
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'ENOENT'].includes(codeOf(error))) return { workflowsPath: entry };
    throw error;
  }
  const bundler = path.join(import.meta.dirname, 'bundle-workflows.ts');
  await promisify(execFile)(process.execPath, [bundler, '--entry', entry, '--into', file]);
  await removeOld();
  return { workflowBundle: { codePath: file } };
}

/** The code's version, and of an entry outside of the workflows' room what lies beside it. */
async function versionOf(entry: string): Promise<string> {
  const buildId = await workflowBuildId();
  const hash = createHash('sha256').update(JSON.stringify([buildId, entry]));
  for (const name of (await readdir(path.dirname(entry))).filter((n) => n.endsWith('.ts')).sort()) {
    hash.update(JSON.stringify(name)).update(await readFile(path.join(path.dirname(entry), name)));
  }
  return `${buildId}-${hash.digest('hex').slice(0, 16)}`;
}

/** False when there is no such file. */
async function touch(file: string): Promise<boolean> {
  try {
    await utimes(file, new Date(), new Date());
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return false;
    // Made when the image was, and cannot be changed now.
    if (['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error)))
      return access(file, constants.R_OK).then(
        () => true,
        () => false,
      );
    throw error;
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? '';

async function removeOld(): Promise<void> {
  for (const name of await readdir(folder())) {
    const file = path.join(folder(), name);
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > keptMs) await rm(file, { force: true });
  }
}
