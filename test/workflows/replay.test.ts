import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import proto from '@temporalio/proto';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { globalHandlers } from '@temporalio/worker/lib/workflow/vm-shared.js';
import { bundledWorkflows, type Workflows, workflowsEntry } from '../../workers/workflow-bundle.ts';
import * as workflows from '../../workflows/index.ts';
import * as pinned from '../../workflows/pinned.ts';
import { scenarios } from './scenarios.ts';

/**
 * Histories of every workflow and every ending, as the real server kept them. Where one does not replay any more, a
 * backup that is under way during an upgrade would be stuck: see docs/decisions/006-workflow-versions.md.
 */

const folder = path.join(import.meta.dirname, 'histories');
const files = readdirSync(folder).sort();
let code: Workflows;

beforeAll(async () => {
  const logger = new DefaultLogger('ERROR', () => {});
  Runtime.install({ logger, telemetryOptions: { logging: { filter: 'OFF' } } });
  code = await bundledWorkflows(workflowsEntry({ pinned: false }));
});

// Replaying runs workflows in this very thread, and leaves hooks on all its promises: the next file would meet them.
afterAll(() => globalHandlers.uninstall());

/** Written by JSON.stringify of what the server gave. The SDK's own way from JSON wants another form of it. */
const historyIn = (text: string) => proto.temporal.api.history.v1.History.fromObject(JSON.parse(text));
const textOf = (file: string) => readFileSync(path.join(folder, file), 'utf8');
const replay = (text: string) => Worker.runReplayHistory(code, historyIn(text));

test('there is a history of every ending of every workflow', () => {
  expect(files).toEqual(
    Object.keys(scenarios)
      .map((name) => `${name}.json`)
      .sort(),
  );
  expect(new Set(files.map((file) => file.split('.')[0]))).toEqual(new Set(Object.keys(workflows)));
});

test('every history replays', async () => {
  const broken: string[] = [];
  const histories = files.map((file) => ({ workflowId: file, history: historyIn(textOf(file)) }));
  for await (const { workflowId, error } of Worker.runReplayHistories(code, histories)) {
    if (error) broken.push(`${workflowId}: ${error.message}`);
  }
  expect(broken).toEqual([]);
});

test.each([
  ['another step in the place of one', (text: string) => text.replaceAll('"sealPoint"', '"sealSomething"')],
  ['a step on another queue', (text: string) => text.replaceAll('"discardStaging"', '"signPoint"')],
  ['a step that is no longer taken', (text: string) => text.replace(/\n.*"name":"releaseSlot".*/, '')],
])('a history with %s is noticed', async (_, change) => {
  const text = textOf('backup.succeeded.json');
  await replay(text);
  const changed = change(text);
  expect(changed).not.toBe(text);
  await expect(replay(changed)).rejects.toThrow();
});

test('no history names the machine that it was recorded on, or a file of it', () => {
  const all = files.map(textOf).join('');
  const payloads = [...all.matchAll(/"data":"([A-Za-z0-9+/=]*)"/g)].map(([, data]) =>
    Buffer.from(data ?? '', 'base64'),
  );
  expect(payloads.length).toBeGreaterThan(500);
  const said = all + Buffer.concat(payloads).toString();
  expect(said).not.toMatch(/"identity"|"stackTrace"|node_modules|file:\/\/|https?:\/\/|\d+@/);
  expect(said).not.toMatch(/\/(?:home|root|tmp|work|usr|var|Users)\//);
  expect(said).not.toContain(hostname());
  expect(all.length).toBeLessThan(2 * 1024 * 1024);
});

test('pinned workers know of every workflow under which version of the code it goes on', () => {
  const unsaid = Object.entries(pinned).filter(([, workflow]) => !('workflowDefinitionOptions' in workflow));
  expect(unsaid.map(([name]) => name)).toEqual([]);
  expect(Object.keys(pinned)).toEqual(Object.keys(workflows));
});
