import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type { PointReader } from '../../artifact/index.ts';
import type { PostgresBinaries } from '../../sites/index.ts';
import { askTool, tool } from '../postgres/tools.ts';
import type { SourceComparison } from '../source.ts';
import { binariesFor } from './binaries.ts';
import { tablespacesFolder } from './tablespaces.ts';

const differencesMax = 20;
const manifestName = 'backup_manifest';

/**
 * Compares a restored data directory, on which no server has run yet, with the point: its backup manifest must be the
 * point's, and pg_verifybackup must find every file and all WAL as that manifest says.
 */
export async function compareCluster(
  point: PointReader,
  place: string,
  signal: AbortSignal,
): Promise<SourceComparison> {
  const { facts, id, content } = point.backup;
  const tools = await binariesFor(Number(facts.serverMajor), `The cluster of ${id}`);
  const differences = [...(await compareManifest(point, place)), ...(await verifyBackup(tools, place, signal))].slice(
    0,
    differencesMax,
  );
  return {
    differences,
    details: `${content.entries.toLocaleString('en-US')} entries and the WAL from ${facts.startLsn} to ${facts.endLsn}, by pg_verifybackup ${tools.major},`,
  };
}

async function compareManifest(point: PointReader, place: string): Promise<string[]> {
  for await (const entry of point.entries()) {
    if (Buffer.from(entry.path).toString() !== manifestName) continue;
    const file = path.join(place, manifestName);
    const handle = await open(file).catch((error: NodeJS.ErrnoException) => error);
    if (handle instanceof Error) return [`${manifestName} cannot be read (${handle.code})`];
    try {
      const buffer = Buffer.alloc(1024 * 1024);
      let offset = 0;
      for await (const { bytes, sha256 } of entry.blocks) {
        const { bytesRead } = await handle.read(buffer, 0, bytes, offset);
        const found = createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
        if (found !== sha256) return [`${manifestName} is that of another backup`];
        offset += bytes;
      }
      const { size } = await handle.stat();
      return size === offset ? [] : [`${manifestName} is that of another backup`];
    } finally {
      await handle.close();
    }
  }
  return [`${point.backup.id} holds no ${manifestName}`];
}

/** What PostgreSQL's own program finds, in its words. */
export async function verifyBackup(tools: PostgresBinaries, place: string, signal: AbortSignal): Promise<string[]> {
  const { status, said } = await askTool({
    program: tool(tools, 'pg_verifybackup'),
    // What lies below the data directory is reached through pg_tblspc.
    args: ['--quiet', `--ignore=${tablespacesFolder}`, place],
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    signal,
  });
  if (status === 0) return [];
  const lines = said
    .split('\n')
    .map((line) => line.replace(/^pg_verifybackup: (error: )?/, '').trim())
    .filter((line) => line !== '');
  return lines.length > 0 ? lines : [`pg_verifybackup ended with ${status}`];
}
