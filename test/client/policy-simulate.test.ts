import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  bytesByPlace,
  bytesByTier,
  dollarsOf,
  monthsShown,
  pointsByClass,
  type SimulationView,
} from '../../client/simulation-view.ts';
import { examplePolicy } from '../policies/example-policy.ts';
import { backupctl } from './terminal.ts';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(path.join(tmpdir(), 'simulate-'));
  writeFileSync(path.join(cwd, 'policy.yaml'), examplePolicy);
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const run = (...argv: string[]) => backupctl(['policy', 'simulate', ...argv], { cwd });
async function view(...argv: string[]): Promise<SimulationView> {
  const { stdout, stderr, exitCode } = await run('--json', '--from', '2026-01-01', ...argv);
  expect([exitCode, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as SimulationView;
}
const last = <T>(list: T[]) => list.at(-1) as T;
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

describe('backupctl policy simulate', () => {
  test('tells for each month what is there, per class, copy and tier, and what it costs', async () => {
    const simulation = await view('--years', '1');
    expect(simulation.months.map((m) => m.month)).toHaveLength(12);
    expect(simulation.months[0]?.month).toBe('2026-01');
    const end = last(simulation.months);
    expect(sum(pointsByClass(simulation).map((c) => last(c.values)))).toBe(end.points);
    const stored = sum(end.stored.map((s) => s.bytes));
    expect(sum(bytesByTier(simulation).map((t) => last(t.values)))).toBeCloseTo(stored);
    expect(sum(bytesByPlace(simulation).map((p) => last(p.values)))).toBeCloseTo(stored);
    expect(sum(simulation.months.map(dollarsOf))).toBeCloseTo(simulation.dollars);
  });

  test('goes by what it is told to assume, and says so', async () => {
    const [small, large] = [await view('--years', '1', '--gib', '1'), await view('--years', '1', '--gib', '10')];
    const bytes = ({ months }: SimulationView) => sum(last(months).stored.map((s) => s.bytes));
    expect(bytes(large) / bytes(small)).toBeCloseTo(10);
    expect(small.sources[0]?.basis.fullBytes).toBe('1.00 GiB, assumed');
  });

  test('shows the end of each year to people, every month of two years or less', async () => {
    const months = Array.from({ length: 30 }, (_, i) => i);
    expect(monthsShown(months)).toEqual([11, 23, 29]);
    expect(monthsShown(months.slice(0, 24))).toHaveLength(24);
    const { stdout, stderr } = await run('--years', '1', '--from', '2026-01-01');
    expect(stdout.match(/2026-\d\d/g)).toHaveLength(12);
    expect(stderr).toContain('All sizes are assumed');
  });

  test('writes one page that needs nothing else', async () => {
    const { stdout } = await run('--years', '1', '--from', '2026-01-01', '--html', 'page.html');
    expect(stdout).toContain('page.html');
    const page = readFileSync(path.join(cwd, 'page.html'), 'utf8');
    expect(page.match(/<svg /g)).toHaveLength(4);
    expect(page).not.toMatch(/<script|<link|src=|https?:|url\(/);
    expect(page).not.toMatch(/NaN|Infinity|undefined/);
    expect(page).toContain('100 GiB, assumed');
  });

  test.each([
    ['no number of years', ['--years', 'many'], 'Give a number'],
    ['no years at all', [], '--years'],
    ['a date that is none', ['--years', '1', '--from', 'soon'], '"soon" is no date'],
    ['a change of more than all', ['--years', '1', '--change', '101'], 'at most 100'],
    ['a page in a folder that is not there', ['--years', '1', '--html', 'none/page.html'], 'ENOENT'],
  ])('refuses %s', async (_what, argv, words) => {
    const { exitCode, stderr } = await run(...argv);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(words);
  });
});
