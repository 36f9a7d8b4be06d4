import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { globalHandlers } from '@temporalio/worker/lib/workflow/vm-shared.js';
import pg from 'pg';
import { queues } from '../../policies/queues.ts';
import { loginPasswords } from '../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../scripts/stack/database.ts';
import { findTemporal } from '../../scripts/stack/find.ts';
import type { Stack } from '../../scripts/stack/stack.ts';
import { bundledWorkflows, workflowsEntry } from '../../workers/workflow-bundle.ts';
import type { BackupResult } from '../../workflows/contracts.ts';
import { allRuns, type History, type Run, secretsIn, textsOf } from '../support/histories.ts';
import { hidingPlaces } from '../support/texts.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/** What real workflows leave in Temporal's histories: no secret, no data, and little. */

type HistoryEvent = NonNullable<History['events']>[number];

const partBytes = 5 * 1024 * 1024;
const document = 'a document, as a person wrote it\n'.repeat(200);
const wrongPassword = 'wrong-and-yet-a-secret';

let whole: Whole;
let receiver: Server;
let runs: Run[];
const results: Record<'small' | 'large' | 'shop', BackupResult> = {} as never;

beforeAll(async () => {
  // Takes no message, so that what is said of that is in the history too.
  receiver = createServer((_, response) => void response.writeHead(404).end()).listen(0, '127.0.0.1');
  whole = await startWhole({
    before: async (stack) => {
      await makeShop(stack);
      for (const name of ['small', 'large']) mkdirSync(path.join(stack.dataDir, name));
      writeFileSync(path.join(stack.dataDir, 'small', 'document.txt'), document);
      writeFileSync(path.join(stack.dataDir, 'large', 'film.bin'), randomBytes(6 * partBytes));
    },
    sources: ({ dataDir, postgres: { host, port } }) => {
      const login = { host, port, database: 'shop', user: 'backup' };
      const secret = (name: string) => `file:${path.join(dataDir, 'secrets', name)}`;
      writeFileSync(path.join(dataDir, 'secrets', 'wrong-password'), wrongPassword, { mode: 0o600 });
      return [
        { name: 'shop', kind: 'postgres-logical', connection: { ...login, password: secret('backup-password') } },
        { name: 'locked', kind: 'postgres-logical', connection: { ...login, password: secret('wrong-password') } },
        { name: 'small', kind: 'files', path: path.join(dataDir, 'small') },
        { name: 'large', kind: 'files', path: path.join(dataDir, 'large') },
      ];
    },
    adapt: (policy) => {
      const secret = (name: string, value: string) => {
        const file = path.join(path.dirname(policy.staging.path), 'secrets', name);
        writeFileSync(file, value, { mode: 0o600 });
        return `file:${file}`;
      };
      const { port } = receiver.address() as AddressInfo;
      policy.notifications = [
        {
          kind: 'webhook',
          on: ['success', 'failure'],
          url: secret('webhook-url', `http://127.0.0.1:${port}/services/T0123/B0456/aVerySecretPath`),
          secret: secret('webhook-key', randomBytes(24).toString('hex')),
        },
      ];
      for (const copy of policy.copies) if (copy.kind === 's3') copy.partBytes = partBytes;
    },
  });
  for (const name of ['small', 'large', 'shop'] as const) {
    results[name] = await whole.backupctl<BackupResult>('backup', 'run', name, '--wait');
  }
  await whole.tryBackupctl('backup', 'run', 'locked', '--wait');
  const asked = ['--wait', '--operator', 'Ada', '--reason', 'the disk burnt'];
  await whole.backupctl('restore', 'small', ...asked, '--into', path.join(whole.dataDir, 'restored', 'small'));
  await whole.tryBackupctl('restore', 'small', ...asked, '--into', path.join(whole.dataDir, 'restored', 'small'));
  // As people do who have nothing but Temporal's own command.
  const cli = ['workflow', 'execute', '--address', whole.stack.temporal.address, '--task-queue', queues.coordination];
  const execute = async (type: string, workflowId: string, input: object) => {
    const args = ['--type', type, '--workflow-id', workflowId, '--input', JSON.stringify(input)];
    await promisify(execFile)(await findTemporal(), [...cli, ...args]);
  };
  await execute('scheduledBackup', 'scheduledBackup/small/1', { source: 'small', ahead: true });
  await execute('retention', 'retention/all/1', {});
  runs = await allRuns(whole.client);
});
afterAll(async () => {
  await whole?.stop();
  receiver?.close();
});

async function makeShop({ dataDir, postgres }: Stack): Promise<void> {
  const run = async (uri: string, ...statements: string[]) => {
    const client = new pg.Client({ connectionString: uri });
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  await run(postgres.uri(), 'CREATE DATABASE shop');
  await run(
    postgres.uri('shop'),
    'CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 500) g',
  );
  await ensureBackupLogin(postgres.uri(), (await loginPasswords(dataDir)).backup, ['shop']);
}

const historyOf = (type: string, source: string): History => {
  const found = runs.find(({ info }) => info.type === type && info.workflowId.startsWith(`${type}/${source}/`));
  if (!found) throw new Error(`no ${type} of ${source} has run`);
  return found.history;
};

test('there are histories of everything that ran, also of what failed', () => {
  const ended = runs.map(({ info }) => `${info.type} ${info.status.name}`).sort();
  expect(ended).toEqual([
    ...Array(4).fill('backup COMPLETED'),
    'backup FAILED',
    'coordinator RUNNING',
    'restore COMPLETED',
    'restore FAILED',
    'retention COMPLETED',
    'scheduledBackup COMPLETED',
  ]);
  for (const result of Object.values(results)) expect(result.outcome).toBe('succeeded');
});

describe('in no payload, failure, header or name of any event', () => {
  const texts = () => textsOf(runs);

  test('is there a secret: password, key, identity or address of a receiver, plain or encoded', () => {
    expect(whole.secrets.get('wrong-password')).toBe(wrongPassword);
    expect([...whole.secrets.keys()]).toEqual(
      expect.arrayContaining(['age-identity', 'signing-key.pem', 'webhook-url']),
    );
    expect(secretsIn(texts(), whole.secrets)).toEqual([]);
  });

  test('is there anything of what was backed up', () => {
    // md5('1') is the first row's note.
    for (const value of ['a document, as a person wrote it', 'c4ca4238a0b923820dcc509a6f75849b']) {
      expect(hidingPlaces(texts(), value)).toEqual([]);
    }
  });

  test('is there much: ids and references only', () => {
    const payloads = texts().filter((t) => t.isPayload);
    expect(payloads.length).toBeGreaterThan(100);
    const largest = payloads.reduce((a, b) => (a.text.length > b.text.length ? a : b));
    expect(largest).toMatchObject({ text: expect.any(String) });
    expect(largest.text.length).toBeLessThan(4_096);
  });

  test('the search does find what is there', () => {
    const here = texts();
    expect(hidingPlaces(here, 'the disk burnt').length).toBeGreaterThan(0);
    expect(hidingPlaces(here, results.shop.pointId).length).toBeGreaterThan(0);
    const encoded = [{ at: 'x', text: Buffer.from('xx hunter2hunter2 xx').toString('base64'), isPayload: true }];
    expect(hidingPlaces(encoded, 'hunter2hunter2')).toEqual(['x']);
  });
});

describe('a backup', () => {
  test('takes at most 200 events', () => {
    const backups = runs.filter(({ info }) => info.type === 'backup');
    const tooLong = backups.filter(({ history }) => (history.events?.length ?? 0) > 200);
    expect(tooLong.map(({ info }) => info.workflowId)).toEqual([]);
  });

  test('of 5 TiB takes as many events as that of one page: no part costs one', () => {
    // How often the workflow is woken depends on what falls together; what it does, does not.
    const deeds = (name: string) => {
      const counts: Record<string, number> = {};
      for (const event of historyOf('backup', name).events ?? []) {
        const [kind] = Object.keys(event).filter((key) => key.endsWith('Attributes'));
        if (!kind || kind.startsWith('workflowTask') || kind.startsWith('workflowExecutionSignaled')) continue;
        counts[kind] = (counts[kind] ?? 0) + 1;
      }
      return counts;
    };
    expect(results.large.storedBytes).toBeGreaterThan(5 * partBytes);
    expect(deeds('large')).toEqual(deeds('small'));
    // Each deed wakes the workflow at most once, in three events.
    const atMost = 4 * Object.values(deeds('large')).reduce((sum, n) => sum + n, 0);
    expect(atMost).toBeLessThanOrEqual(10_000);
  });

  test('waits for no worker longer than half an hour while it holds a slot', () => {
    const events = historyOf('backup', 'shop').events ?? [];
    const granted = events.findIndex((e) => e.workflowExecutionSignaledEventAttributes?.signalName === 'slotGranted');
    const stepOf = (e: HistoryEvent) => e.activityTaskScheduledEventAttributes?.activityType?.name;
    const released = events.findIndex((e) => stepOf(e) === 'releaseSlot');
    const held = events.slice(granted, released).flatMap((e) => e.activityTaskScheduledEventAttributes ?? []);
    expect(held.map((step) => step.activityType?.name)).toEqual(
      expect.arrayContaining(['sealPoint', 'testRestore', 'uploadCopy', 'discardStaging']),
    );
    for (const step of held) {
      const seconds = (d?: { seconds?: unknown } | null) => Number(d?.seconds ?? 0) || Number.POSITIVE_INFINITY;
      const wait = Math.min(seconds(step.scheduleToStartTimeout), seconds(step.scheduleToCloseTimeout));
      expect({ step: step.activityType?.name, wait }).toEqual({
        step: step.activityType?.name,
        wait: expect.any(Number),
      });
      expect(wait).toBeLessThanOrEqual(30 * 60);
    }
  });
});

test('every one of these histories replays', async () => {
  const logger = new DefaultLogger('ERROR');
  Runtime.install({ logger });
  try {
    const replayed = Worker.runReplayHistories(
      await bundledWorkflows(workflowsEntry({ pinned: false })),
      runs.map(({ info, history }) => ({ workflowId: info.workflowId, history })),
    );
    for await (const { workflowId, error } of replayed)
      expect({ workflowId, error }).toEqual({ workflowId, error: undefined });
  } finally {
    // Replaying runs workflows in this very thread, and leaves hooks on all its promises: the next file would meet them.
    globalHandlers.uninstall();
  }
});
