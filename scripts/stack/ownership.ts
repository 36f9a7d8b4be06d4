import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Failure } from '../../policies/failure.ts';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity.ts';

interface Owner extends ProcessIdentity {
  since: string;
  addresses: Record<string, string>;
}

export interface Ownership {
  /** Keeps addresses for the message that a second start gets. */
  note(addresses: Record<string, string>): Promise<void>;
  release(): Promise<void>;
}

/**
 * Makes this process the only one on the data folder, until it releases it or ends. What a dead owner left is taken
 * over; a living one is never touched: throws UsageInvalid that names it.
 */
export async function takeDataDir(dataDir: string): Promise<Ownership> {
  const file = path.join(dataDir, 'owner.json');
  const mine: Owner = { ...ownIdentity(), since: new Date().toISOString(), addresses: {} };
  for (;;) {
    try {
      await writeFile(file, JSON.stringify(mine), { flag: 'wx', mode: 0o600 });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = await readOwner(file);
    if (owner && isAlive(owner)) throw inUse(dataDir, owner);
    await buryStale(file);
  }
  return {
    async note(addresses) {
      await writeFile(`${file}.new`, JSON.stringify({ ...mine, addresses }), { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
    async release() {
      await rm(file, { force: true });
    },
  };
}

/** Moved aside first: of two who find the same dead owner, only one gets it, and neither removes the other's own. */
async function buryStale(file: string): Promise<void> {
  const grave = `${file}.${process.pid}`;
  try {
    await rename(file, grave);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const buried = await readOwner(grave);
  if (buried && isAlive(buried)) await rename(grave, file);
  else await rm(grave, { force: true });
}

async function readOwner(file: string): Promise<Owner | null> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Owner;
  } catch (error) {
    // Half a file is what a crash leaves: nobody owns it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}

function ownIdentity(): ProcessIdentity {
  return identityOf(process.pid) ?? { pid: process.pid, started: '' };
}

function inUse(dataDir: string, { pid, since, addresses }: Owner): Failure {
  const where = addresses?.temporal ? ` Its Temporal UI is at ${addresses.temporal}.` : '';
  return new Failure(
    'UsageInvalid',
    `The data folder ${dataDir} is in use by process ${pid}, started ${since}.${where}`,
    {
      next: `Use that one, end it (Ctrl-C, or kill ${pid}), or give another folder with --data DIR.`,
    },
  );
}
