import { Failure } from '../../../policies/failure.ts';
import { chooseBinaries, installHint, listPostgresBinaries, type PostgresBinaries } from '../../sites/index.ts';

const needed = ['postgres', 'pg_verifybackup', 'pg_waldump', 'pg_amcheck', 'pg_checksums'];

/**
 * Server programs of exactly one major version: no other one can start a cluster's files. Throws ClientToolMissing, and
 * ServerTooNew when all there are is older.
 *
 * @param what whose version it is, for the message
 */
export async function binariesFor(major: number, what: string): Promise<PostgresBinaries> {
  const all = await listPostgresBinaries(needed);
  const newest = chooseBinaries(all, needed);
  const found = all.find((b) => b.major === major);
  if (found) return found;
  const seen = all.map((b) => `${b.major} (${b.binDir})`).join(', ');
  throw new Failure(
    newest.major < major ? 'ServerTooNew' : 'ClientToolMissing',
    `${what} is PostgreSQL ${major}, and this host has version ${seen} only; only the very same version can prove that it starts.`,
    { next: installHint(major, true), details: { serverMajor: major, toolMajor: newest.major } },
  );
}
