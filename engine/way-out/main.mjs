import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { readArguments, usage } from './arguments.mjs';
import { OpenPoint } from './content.mjs';
import { contentOf, nextCommands, restoreParts } from './dumps.mjs';
import { messageOf } from './frames.mjs';
import { choose, listEntries, listPoints } from './listing.mjs';
import { findPoints } from './point.mjs';
import { exitCodes, Problem } from './problem.mjs';
import { createProgress, print, printable, say, size } from './text.mjs';
import { restoreTree } from './tree.mjs';
import { verifyPoint } from './verify.mjs';
import { restoreWal } from './wal.mjs';

/** @param {string[]} argv @returns {Promise<number>} the exit code */
async function main(argv) {
  const read = readArguments(argv);
  if (!read) {
    print(usage);
    return 0;
  }
  const { command, store, rest, into, only, access } = read;
  /** @param {string} wanted */
  const open = (wanted) => {
    const point = choose(store, wanted, access.trusted);
    const { publicKey } = point.backup.signature;
    if (!point.confirmed)
      say(`note: ${point.name} is signed by ${publicKey}; if that key is yours, say so: --trusted ${publicKey}`);
    return new OpenPoint(point, access);
  };
  const [point = ''] = rest;
  switch (command) {
    case 'list':
      return point === '' ? listPoints(store, access.trusted) : listEntries(open(point));
    case 'verify':
      return verifyAll(rest.length > 0 ? rest : [...findPoints(store)].map((f) => `${f.source}/${f.id}`), open);
    case 'cat':
      return cat(open(point), rest[1] ?? '');
    case 'wal': {
      const folder = resolve(into);
      prepare(folder);
      return restoreWal(point, folder, access);
    }
    default:
      return restore(open(point), into, only);
  }
}

/** One after the other; the exit code is that of the worst. @param {string[]} points @param {(point: string) => OpenPoint} open */
function verifyAll(points, open) {
  let worst = 0;
  for (const point of points) {
    try {
      worst = Math.max(worst, verifyOne(open(point)));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      worst = Math.max(worst, tell(error));
    }
  }
  return worst;
}

/** Says what is wrong, and what to do; returns the exit code. @param {Problem} problem */
function tell({ kind, message, next }) {
  say(message === usage ? usage : `error: ${message}${next === '' ? '' : `\n  next: ${next}`}`);
  return exitCodes[kind];
}

/** @param {OpenPoint} open */
function verifyOne(open) {
  let problems = 0;
  const progress = createProgress('verified', open.point.backup.content.sourceBytes);
  const counts = verifyPoint(open, {
    onProblem: (what) => {
      progress.clear();
      if (++problems <= 1000) say(`damaged: ${what}`);
    },
    onBytes: progress.add,
  });
  progress.clear();
  open.close();
  const read = `${counts.entries} entries, ${counts.blocks} blocks, ${size(counts.bytes)}`;
  print(
    problems === 0
      ? `${open.point.name} is good: ${read}`
      : `${open.point.name} is damaged: ${problems} problems, read were ${read}`,
  );
  return problems === 0 ? 0 : exitCodes.damage;
}

/** @param {OpenPoint} open @param {string} folder @param {string[]} only */
function restore(open, folder, only) {
  const into = resolve(folder);
  prepare(into);
  const { backup, name } = open.point;
  const progress = createProgress('restored', backup.content.sourceBytes);
  const work = backup.content.format === 'parts' ? restoreParts : restoreTree;
  if (!['parts', 'pax-tar', 'blocks'].includes(backup.content.format))
    throw new Problem(
      'damage',
      `${name} has the content ${printable(backup.content.format)}, which this script does not know.`,
    );
  const onLost = (/** @type {string} */ line) => {
    progress.clear();
    say(`left out, for it is damaged: ${line}`);
  };
  let outcome;
  try {
    outcome = work(open, into, { only, onBytes: progress.add, onLost });
  } catch (error) {
    progress.clear();
    if (readdirSync(into).length > 0) say(`what came back until then lies in ${into}, unfinished`);
    const { code, syscall } = /** @type {NodeJS.ErrnoException} */ (error);
    if (error instanceof Problem || !syscall) throw error;
    throw new Problem(
      'target',
      `The restore into ${into} stopped: ${messageOf(error)}.`,
      code === 'ENOSPC'
        ? 'Free space there, or restore elsewhere.'
        : 'Mend what is named, then restore into an empty folder.',
    );
  }
  progress.clear();
  open.close();
  if (only.length > 0 && outcome.entries === 0)
    throw new Problem(
      'unknown',
      `${name} holds nothing of that name.`,
      'The command list, given the point, shows what it holds.',
    );
  print(
    `Restored ${outcome.entries} entries, ${size(progress.done())}, of ${name} (state of ${printable(backup.capturedAt)}) into ${into}`,
  );
  for (const line of outcome.missing) say(`not restored: ${line}`);
  const commands = only.length > 0 ? [] : nextCommands(backup, into, readdirSync(into));
  if (commands.length > 0) print(`\nTo bring PostgreSQL back:\n\n${commands.map((line) => `  ${line}`).join('\n')}`);
  if (outcome.lost > 0)
    throw new Problem(
      'damage',
      `${outcome.lost} files were left out, for they are damaged.`,
      'Restore these from another copy: --only PATH',
    );
  return outcome.missing.length > 0 ? exitCodes.incomplete : 0;
}

/** @param {string} into */
function prepare(into) {
  try {
    if (existsSync(into)) {
      if (readdirSync(into).length === 0) return;
      throw new Problem('target', `${into} is not empty; nothing was written.`, 'Name a new folder, or an empty one.');
    }
    mkdirSync(into, 0o700);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(
      'target',
      `${into} cannot be used: ${messageOf(error)}.`,
      'Name a folder that can be written to.',
    );
  }
}

/** @param {OpenPoint} open @param {string} path */
async function cat(open, path) {
  for (const chunk of contentOf(open, path))
    if (!process.stdout.write(chunk)) await new Promise((drained) => process.stdout.once('drain', drained));
  return 0;
}

// At its end, Node.js 20 waits for threads that compile, and one of them may be waiting for it to collect garbage: for ever.
if (Number(process.versions.node.split('.')[0]) < 22) setFlagsFromString('--no-sparkplug');

process.stdout.on('error', (error) => {
  // Whoever read our output has seen enough.
  if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { syscall, message } = /** @type {NodeJS.ErrnoException} */ (error);
  if (error instanceof Problem) process.exitCode = tell(error);
  // What goes wrong while writing has its own words by now.
  else if (syscall) process.exitCode = tell(new Problem('store', `The store cannot be read: ${message}.`));
  else throw error;
}
