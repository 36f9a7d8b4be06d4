import { chmodSync, closeSync, constants, lchownSync, linkSync, lstatSync, openSync, symlinkSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { Entry, FileOwn } from '../../artifact/index.ts';
import { setMtime } from '../../file-times.ts';
import { assertExpected } from '../../giving-up.ts';
import { assertReal } from './inside.ts';
import { yieldToLoop } from './loop.ts';
import { makeNode, setXattr } from './posix.ts';
import { bytesOf } from './raw-path.ts';

/** All that restoring a tree does but for files' contents. Paths are absolute, and Latin-1, as other raw bytes are. */
export type Step =
  /** Those above it as well where `isDeep` says so. */
  | { do: 'folder'; at: string; isDeep: boolean }
  | { do: 'empty file'; at: string }
  | { do: 'symlink'; at: string; to: string }
  | { do: 'node'; at: string; type: 'fifo' | 'char' | 'block'; mode: number; rdev: { major: number; minor: number } }
  /** Another name of a file, which lies within the tree. */
  | { do: 'link'; at: string; first: string; root: string }
  | ({ do: 'own'; at: string } & Own);

/** What a thing has besides its content. */
export interface Own extends FileOwn {
  type: Entry['type'];
  xattrs: Record<string, string>;
  /** A symbolic link that leads here, and gets the same owner. */
  alias: string | null;
  /** It may not be there, and then has nothing. */
  isOptional: boolean;
}

/** Takes steps in their order, and returns what could not be set where the file system has no such thing. */
export async function place(steps: readonly Step[]): Promise<string[]> {
  const warnings: string[] = [];
  const breathe = yieldToLoop();
  for (const step of steps) {
    await breathe();
    assertExpected();
    await take(step, (line) => warnings.push(line));
  }
  return warnings;
}

async function take(step: Step, warn: (line: string) => void): Promise<void> {
  const at = bytesOf(step.at);
  switch (step.do) {
    case 'folder':
      // Where this is the main thread: the file system may wait for its journal.
      await mkdir(at, { mode: 0o700, recursive: step.isDeep });
      return;
    case 'empty file':
      closeSync(openSync(at, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600));
      return;
    case 'symlink':
      symlinkSync(bytesOf(step.to), at);
      return;
    case 'node':
      makeNode(at, step.type, step.mode, step.rdev);
      return;
    case 'link':
      assertReal(bytesOf(step.root), bytesOf(step.first));
      linkSync(bytesOf(step.first), at);
      return;
    case 'own':
      setOwn(at, step, warn);
  }
}

function setOwn(at: Buffer, own: Own, warn: (line: string) => void): void {
  if (own.isOptional && lstatSync(at, { throwIfNoEntry: false }) === undefined) return;
  if (own.owner) {
    const { uid, gid } = own.owner;
    lchownSync(at, uid, gid);
    if (own.alias !== null) lchownSync(bytesOf(own.alias), uid, gid);
  }
  // Before the mode, which may forbid it to all but root.
  for (const [name, value] of Object.entries(own.xattrs)) {
    try {
      setXattr(at, name, bytesOf(value));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM'].includes(code ?? '')) throw error;
      warn(`${at.toString()}: ${name} could not be set (${code})`);
    }
  }
  if (own.type !== 'symlink') chmodSync(at, own.mode);
  setMtime(at, own.mtimeNs);
}

/** At a time: what travels between threads costs more than most steps do. */
const batch = 256;

/** Steps on their way, in their order, some hundred at a time. */
export interface Placing {
  add(step: Step): Promise<void>;
  /** Resolves once the folders that were added are there. */
  settleFolders(): Promise<void>;
  /** Resolves once all that was added is done. */
  settle(): Promise<void>;
}

/** @param take as `place`, wherever that is */
export function createPlacing(take: (steps: Step[]) => Promise<string[]>, warn: (line: string) => void): Placing {
  let next: Step[] = [];
  let underWay: Promise<void> = Promise.resolve();
  let hasFolders = false;
  const send = async () => {
    await underWay;
    if (next.length === 0) return;
    const steps = next;
    next = [];
    underWay = take(steps).then((warnings) => warnings.forEach(warn));
    // Whoever sends or settles next is told.
    underWay.catch(() => {});
  };
  const settle = async () => {
    hasFolders = false;
    await send();
    await underWay;
  };
  return {
    async add(step) {
      next.push(step);
      hasFolders ||= step.do === 'folder';
      if (next.length >= batch) await send();
    },
    settleFolders: async () => (hasFolders ? settle() : undefined),
    settle,
  };
}
