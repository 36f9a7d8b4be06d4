import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { PointReader } from '../../artifact/index.ts';
import { findPostgresBinaries, type PostgresBinaries } from '../../sites/index.ts';
import { connectionFromUri, libpqEnvironment } from '../postgres/connection.ts';
import { feed, startTool, tool } from '../postgres/tools.ts';
import type { SourceComparison } from '../source.ts';
import { summary } from './compare-dump.ts';
import { dumpPart } from './dump-context.ts';
import { unpackDump } from './dump-files.ts';
import { compareFingerprints, type Fingerprint, fingerprintScript } from './fingerprint.ts';

const differencesMax = 20;

/**
 * Compares every table's rows, the sequences and the large objects of a database, named by its URI, with those of the
 * point's dump. Only reads. A dump in directory format is unpacked into TMPDIR for it.
 */
export async function compareDatabase(point: PointReader, uri: string, signal: AbortSignal): Promise<SourceComparison> {
  const tools = await findPostgresBinaries(
    ['pg_restore', 'pg_dump'],
    Math.max(Number(point.backup.facts.serverMajor ?? 0), Number(point.backup.facts.toolMajor ?? 0)),
  );
  const givenUp = new AbortController();
  const either = AbortSignal.any([signal, givenUp.signal]);
  try {
    const expected = await fingerprintOfPoint(point, tools, either);
    const env = libpqEnvironment(connectionFromUri(uri));
    const present = startTool({
      program: tool(tools, 'pg_dump'),
      args: ['--data-only', '--no-password'],
      env,
      signal: either,
    });
    const found = await fingerprintScript(present.stdout);
    await present.finished;
    return { differences: compareFingerprints(expected, found).slice(0, differencesMax), details: summary(expected) };
  } finally {
    givenUp.abort();
  }
}

async function fingerprintOfPoint(
  point: PointReader,
  tools: PostgresBinaries,
  signal: AbortSignal,
): Promise<Fingerprint> {
  const start = (args: string[], stdin: boolean) =>
    startTool({
      program: tool(tools, 'pg_restore'),
      args: ['--data-only', '--file=-', ...args],
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
      signal,
      stdin,
    });
  if (point.backup.content.format === 'pax-tar') {
    const scratch = await mkdtemp(path.join(tmpdir(), 'compare-'));
    try {
      const files = await unpackDump(point, path.join(scratch, 'dump'), { signal, onProgress: () => {} });
      const running = start([files.dump], false);
      const fingerprint = await fingerprintScript(running.stdout);
      await running.finished;
      return fingerprint;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
  const running = start(['--format=custom'], true);
  const [fingerprint] = await Promise.all([
    fingerprintScript(running.stdout),
    feed(point.content(dumpPart, signal), running),
    running.finished,
  ]);
  return fingerprint;
}
