// Plain Node 20 built-ins only: this runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/**
 * Runs `npm ci` when node_modules is not what package-lock.json says. Its output goes to stderr, so that a command's own
 * stdout stays clean. Throws an Error that says what to do when it fails.
 */
export function ensureInstalled() {
  const why = whatIsMissing();
  if (why === null) return;
  process.stderr.write(`Installing dependencies (${why}) …\n`);
  // Under npm this is npm's own script; it is run by the Node that runs us.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const args = [...npm.slice(1), 'ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, signal, error } = spawnSync(npm[0], args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (error) throw new Error(`npm cannot be run (${error.message}). Install npm, or run "npm ci" by hand.`);
  if (status !== 0)
    throw new Error(
      `npm ci ended with ${signal ?? `status ${status}`}; see its message above, and run "npm ci" again.`,
    );
  if (whatIsMissing() !== null)
    throw new Error(`npm ci left ${whatIsMissing()}; remove node_modules and run "npm ci".`);
}

/** A few words on what node_modules lacks, null when it is whole. Contents are compared, for clocks and checkouts lie. */
function whatIsMissing() {
  const installed = readLock(path.join(root, 'node_modules', '.package-lock.json'));
  if (installed === null) return 'there is no node_modules';
  const wanted = readLock(path.join(root, 'package-lock.json'));
  if (wanted === null) throw new Error(`${root} has no package-lock.json; clone the repository again.`);
  for (const [name, { version, optional, devOptional, peer, link }] of Object.entries(wanted)) {
    if (name === '' || link || optional || devOptional || peer) continue;
    const present = installed[name]?.version;
    if (present !== version)
      return `${name.replace('node_modules/', '')} is ${present ?? 'absent'}, wanted is ${version}`;
  }
  return existsSync(pinnedNodePath()) ? null : 'no pinned Node.js';
}

function readLock(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? null;
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

/** The Node.js that package.json pins. */
export function pinnedNodePath() {
  const linked = path.join(root, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(linked)) return linked;
  // Where install scripts are off, the package of this platform holds it all the same.
  const name = `node-${process.platform}-${process.arch}`;
  const places = [path.join(root, 'node_modules', 'node', 'node_modules', name), path.join(root, 'node_modules', name)];
  return places.map((place) => path.join(place, 'bin', 'node')).find((file) => existsSync(file)) ?? linked;
}
