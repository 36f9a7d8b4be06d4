import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Failure } from '../../policies/failure.ts';
import { cacheDir, withCacheLock } from './cache.ts';
import { isExecutable, runInstaller, say } from './install.ts';

/**
 * Another Node.js than the one that runs us, by its exact version: the npm package of this platform, kept in the cache.
 * Throws ClientToolMissing.
 */
export async function findNode(version: string): Promise<string> {
  const { platform, arch } = process;
  // Its publisher's names for the platforms.
  const name = `${platform === 'darwin' && arch === 'arm64' ? 'node-bin' : 'node'}-${platform}-${arch}`;
  const folder = cacheDir(`node-${version}`);
  const program = path.join(folder, 'node_modules', name, 'bin', 'node');
  if (await isExecutable(program)) return program;
  return withCacheLock(`node-${version}`, async () => {
    if (await isExecutable(program)) return program;
    say(`Node.js ${version}: fetching it from npm, this happens once`);
    const scratch = `${folder}.${process.pid}.part`;
    try {
      const quiet = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      const args = ['install', ...quiet, '--prefix', scratch, `${name}@${version}`];
      await runInstaller('npm', args, { logFile: cacheDir('logs', `node-${version}.log`) });
      await rm(folder, { recursive: true, force: true });
      await rename(scratch, folder);
    } catch (error) {
      await rm(scratch, { recursive: true, force: true });
      throw new Failure('ClientToolMissing', `Node.js ${version} cannot be had: ${(error as Error).message}`, {
        next: `See that npm reaches its registry ("npm view ${name}@${version}"), then try again.`,
        cause: error,
      });
    }
    return program;
  });
}
