import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pythonVenv } from '../../scripts/stack/find.ts';
import { freePort, startProcess } from '../../scripts/stack/process.ts';
import type { RunningService } from '../../scripts/stack/types.ts';
import type { S3Service } from './shared.ts';

export type RunningMoto = RunningService & S3Service;

/**
 * Starts moto's server on a free port: AWS's interface with the storage classes and encryption that versitygw lacks, all
 * of it in memory, for everybody's keys. It is killed with this process.
 */
export async function startMoto(): Promise<RunningMoto> {
  const venv = await pythonVenv(path.join(import.meta.dirname, 'moto-requirements.txt'));
  const folder = await mkdtemp(path.join(tmpdir(), 'moto-'));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const running = await startProcess({
    name: 'The moto server',
    program: path.join(venv, 'bin', 'moto_server'),
    args: ['-H', '127.0.0.1', '-p', String(port)],
    logFile: path.join(folder, 'moto.log'),
    failure: 'StoreUnreachable',
    ready: () => answers(`${endpoint}/moto-api/`),
  });
  return {
    ...running,
    endpoint,
    region: 'us-east-1',
    accessKeyId: 'anybody',
    secretAccessKey: 'anything',
    async stop() {
      await running.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Not listening yet; the caller asks again, and gives up with the server's own log.
    return false;
  }
}
