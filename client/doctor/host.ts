import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { Failure } from '../../policies/failure.ts';
import type { Policy, SourcePolicy } from '../../policies/policy.ts';
import { formatBytes } from '../../policies/progress.ts';
import type { Context } from '../context.ts';
import { examine, type Finding } from './check.ts';

/** Less than this is too little for any backup worth the name. */
const freeMinBytes = 1024 ** 3;

/** This machine's part: its sources with their client tools, and the staging disk. */
export async function examineHost(context: Context, policy: Policy, host: string): Promise<Finding[]> {
  const here = policy.sources.filter((s) => s.host === host);
  const elsewhere = policy.sources.filter((s) => s.host !== host);
  return [
    await examine('staging disk', () => examineStaging(policy.staging.path)),
    ...(await Promise.all(
      here.map((source) => examine(`source ${source.name}`, () => examineSource(context, source))),
    )),
    ...elsewhere.map((s) => ({
      check: `source ${s.name}`,
      ok: true,
      type: null,
      details: `stands on ${s.host}; run "backupctl doctor --host ${s.host}" there`,
      next: '',
    })),
  ];
}

async function examineSource(context: Context, source: SourcePolicy): Promise<string> {
  const { openSource } = await import('../../engine/sources/index.ts');
  const probe = await openSource(source, { resolveSecret: context.secret }).probe();
  const facts = Object.entries(probe.facts)
    .slice(0, 4)
    .map(([name, value]) => `${name} ${value}`);
  const size = probe.estimatedBytes > 0 ? `, about ${formatBytes(probe.estimatedBytes)}` : '';
  return `readable${size}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`;
}

async function examineStaging(folder: string): Promise<string> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('StagingFull', `${folder} cannot be written (${code})`, {
      next: `Make it for the user of the workers only: install -d -m 0700 ${folder}`,
    });
  }
  const { mode } = await stat(folder);
  if ((mode & 0o002) !== 0) {
    throw new Failure('StagingFull', `${folder} can be written by everybody`, { next: `chmod o-w ${folder}` });
  }
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < freeMinBytes) {
    throw new Failure('StagingFull', `${folder} has only ${formatBytes(free)} left`, {
      next: 'Free space there, or name a larger disk in staging.path.',
    });
  }
  return `${folder} has ${formatBytes(free)} left`;
}
