import { pipeline } from 'node:stream/promises';
import type { PointReader } from '../../artifact/index.ts';
import { findPostgresBinaries } from '../../sites/index.ts';
import type { SourceComparison } from '../source.ts';
import { connectionFromUri, libpqEnvironment } from './connection.ts';
import { compareFingerprints, fingerprintScript } from './fingerprint.ts';
import { tool } from './probe.ts';
import { dumpPart } from './seal.ts';
import { startTool } from './tools.ts';

/** Compares every table's rows, the sequences and the large objects of a database with those of the point's dump. */
export async function compareDatabase(point: PointReader, uri: string, signal: AbortSignal): Promise<SourceComparison> {
  const tools = await findPostgresBinaries(['pg_restore', 'pg_dump'], Number(point.backup.facts.serverMajor ?? 0));
  const env = libpqEnvironment(connectionFromUri(uri));
  const dumped = startTool({
    program: tool(tools, 'pg_restore'),
    args: ['--format=custom', '--data-only', '--file=-'],
    env,
    signal,
    stdin: true,
  });
  const [expected] = await Promise.all([
    fingerprintScript(dumped.stdout),
    pipeline(point.content(dumpPart, signal), dumped.stdin),
    dumped.finished,
  ]);
  const present = startTool({ program: tool(tools, 'pg_dump'), args: ['--data-only', '--no-password'], env, signal });
  const found = await fingerprintScript(present.stdout);
  await present.finished;
  const tables = [...expected].filter(([name]) => !name.startsWith('('));
  const rows = tables.reduce((sum, [, t]) => sum + t.rows, 0);
  return { differences: compareFingerprints(expected, found).slice(0, 20), details: `${tables.length} tables and ${rows} rows` };
}
