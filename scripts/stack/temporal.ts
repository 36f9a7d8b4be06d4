import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import { Failure } from '../../policies/failure.ts';
import { commandTypes, searchAttributes } from '../../policies/search-attributes.ts';
import { findTemporal } from './find.ts';
import { freePort, startProcess } from './process.ts';
import type { RunningTemporal, TemporalOptions } from './types.ts';

const namespace = 'default';

/**
 * Starts Temporal's development server with its Web UI on 127.0.0.1 and registers our search attributes. With `dbFile`
 * the history survives; the log is `dbFile.log`. Throws ClientToolMissing, TemporalUnreachable when it does not start.
 */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  const program = await findTemporal();
  const scratch = options.dbFile ? null : await mkdtemp(path.join(tmpdir(), 'temporal-'));
  if (options.dbFile) await mkdir(path.dirname(options.dbFile), { recursive: true });
  const port = await freePort(options.port);
  const uiPort = await freePort(options.uiPort);
  const address = `127.0.0.1:${port}`;
  const running = await startProcess({
    name: 'Temporal',
    program,
    args: [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--ui-ip', '127.0.0.1', '--headless=false'],
      ...['--port', String(port), '--ui-port', String(uiPort), '--log-level', 'error', '--log-format', 'json'],
      ...(options.dbFile ? ['--db-filename', options.dbFile] : []),
      ...Object.entries(searchAttributes).flatMap(([name, type]) => [
        '--search-attribute',
        `${name}=${commandTypes[type]}`,
      ]),
    ],
    logFile: options.dbFile ? `${options.dbFile}.log` : path.join(scratch ?? '', 'temporal.log'),
    failure: 'TemporalUnreachable',
    ports: [port, uiPort],
    ready: () => namespaceAnswers(address),
  });
  return {
    pid: running.pid,
    ended: running.ended,
    address,
    namespace,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    async stop() {
      await running.stop();
      if (scratch) await rm(scratch, { recursive: true, force: true });
    },
  };
}

/**
 * A Temporal that somebody else runs, as TEMPORAL_ADDRESS names it. Throws TemporalUnreachable. Its UI's address is
 * TEMPORAL_UI_URL, or guessed.
 */
export async function connectTemporal(address: string): Promise<RunningTemporal> {
  const connection = Connection.lazy({ address });
  try {
    await connection.withDeadline(Date.now() + 10_000, () =>
      connection.workflowService.describeNamespace({ namespace }),
    );
  } catch (error) {
    throw new Failure(
      'TemporalUnreachable',
      `Temporal at ${address} (TEMPORAL_ADDRESS) does not answer: ${(error as Error).message}.`,
      {
        next: 'Correct TEMPORAL_ADDRESS, or unset it: one is then started here.',
        cause: error,
      },
    );
  } finally {
    await connection.close();
  }
  const uiUrl = process.env.TEMPORAL_UI_URL ?? `http://${address.split(':')[0]}:8233`;
  return { pid: 0, ended: new Promise(() => {}), address, namespace, uiUrl, stop: async () => {} };
}

/** The namespace answers when workflows can be started and found again; the port opens earlier. */
async function namespaceAnswers(address: string): Promise<boolean> {
  const connection = Connection.lazy({ address });
  try {
    return await connection.withDeadline(Date.now() + 5_000, async () => {
      await connection.workflowService.describeNamespace({ namespace });
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      return Object.keys(searchAttributes).every((name) => name in customAttributes);
    });
  } catch {
    // Not there yet; the caller asks again, and gives up with the server's own log.
    return false;
  } finally {
    await connection.close();
  }
}
