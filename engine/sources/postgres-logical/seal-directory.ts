import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ArtifactWriter } from '../../artifact/index.ts';
import { sealTree } from '../files/seal.ts';
import { libpqEnvironment } from '../postgres/connection.ts';
import { runTool, tool } from '../postgres/tools.ts';
import type { SealOptions, SealResult } from '../source.ts';
import { type DumpContext, dumpArguments, dumpFolder, fingerprintPart, globalsPart } from './dump-context.ts';
import { serverFingerprint } from './fingerprint-server.ts';
import { dumpGlobals } from './globals.ts';

const progressMs = 1_000;

/** Several connections dump into a folder on the staging disk, which is then sealed as a tree and removed. */
export async function sealDirectoryDump(
  { policy, connection, probed, snapshot, signal }: DumpContext,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<Pick<SealResult, 'content' | 'warnings'>> {
  const root = path.join(options.scratchDir, 'dump');
  const folder = path.join(root, dumpFolder);
  const warnings: string[] = [];
  await mkdir(root, { mode: 0o700 });
  const timer = setInterval(() => {
    void sizeOf(folder).then((bytes) => {
      options.onProgress({ bytesDone: bytes, bytesTotal: probed.estimatedBytes, entriesDone: 0 });
    });
  }, progressMs);
  try {
    await runTool({
      program: tool(probed.tools, 'pg_dump'),
      args: ['--format=directory', `--jobs=${policy.jobs}`, `--file=${folder}`, ...dumpArguments(snapshot)],
      env: libpqEnvironment(connection),
      signal,
    });
    clearInterval(timer);
    if (policy.fingerprint === 'source') {
      await writeFile(path.join(root, fingerprintPart), JSON.stringify(await serverFingerprint(snapshot.client)), {
        mode: 0o600,
      });
    }
    // The server need not keep old rows while we compress.
    await snapshot.close();
    if (policy.globals) {
      const globals = await dumpGlobals(connection, probed.tools, signal);
      warnings.push(...globals.warnings);
      await writeFile(path.join(root, globalsPart), globals.sql, { mode: 0o600 });
    }
    const sealed = await sealTree({ path: root, onUnstable: 'fail', onUnreadable: 'fail' }, writer, options);
    return { content: sealed.content, warnings: [...warnings, ...sealed.warnings] };
  } finally {
    clearInterval(timer);
    await rm(root, { recursive: true, force: true });
  }
}

/** Bytes of the files in a folder, as far as they can be seen while it is being written. */
async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder).catch(() => [])) {
    bytes += await stat(path.join(folder, name)).then(
      (s) => s.size,
      () => 0,
    );
  }
  return bytes;
}
