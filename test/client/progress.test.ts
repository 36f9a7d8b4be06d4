import { describe, expect, test } from '@jest/globals';
import { barOf } from '../../client/follow.ts';
import { createOutput } from '../../client/output.ts';
import { barLine, createProgressView, jobLine } from '../../client/progress.ts';
import type { BackupStatus } from '../../workflows/contracts.ts';

function view(isTTY: boolean, more: { json?: boolean; quiet?: boolean } = {}) {
  let text = '';
  const stream = {
    write: (t: string) => {
      text += t;
    },
    isTTY,
    columns: 40,
  };
  const out = createOutput({
    streams: { stdout: stream, stderr: stream },
    env: {},
    json: false,
    quiet: false,
    color: true,
    ...more,
  });
  return { view: createProgressView(out), text: () => text };
}
const bar = { name: 'seal', bytesDone: 512, bytesTotal: 1024, entriesDone: 3 };

describe('progress', () => {
  test('is drawn as a bar with share and size', () => {
    expect(barLine(bar)).toBe(
      `  seal         [${'█'.repeat(12)}${'░'.repeat(12)}]  50 %  512 B of 1.00 KiB, 3 entries`,
    );
  });

  test('never shows more than all, and no bar where nobody knows how much there is', () => {
    expect(barLine({ ...bar, bytesDone: 4096 })).toContain('100 %');
    expect(barLine({ ...bar, bytesTotal: 0 })).toBe('  seal         512 B, 3 entries');
  });

  test('is redrawn in place on a terminal, no line wider than it, and leaves nothing behind', () => {
    const { view: shown, text } = view(true);
    shown.show('x'.repeat(100), [bar]);
    for (const line of text().trimEnd().split('\n')) expect([...line].length).toBeLessThan(40);
    shown.show('second', []);
    expect(text()).toContain('\u001b[2A\u001b[0Jsecond\n');
    shown.end();
    expect(text().endsWith('\u001b[1A\u001b[0J')).toBe(true);
  });

  test('is a line for each change elsewhere', () => {
    const { view: shown, text } = view(false);
    for (const line of ['plan', 'plan', 'seal', 'seal']) shown.show(line, [bar]);
    shown.end();
    expect(text()).toBe('plan\nseal\n');
  });

  test.each([{ json: true }, { quiet: true }])('is not shown with %j', (how) => {
    const { view: shown, text } = view(true, how);
    shown.show('seal', [bar]);
    shown.end();
    expect(text()).toBe('');
  });

  test('is read from heartbeats, and nothing else is', () => {
    expect(barOf('{"phase":"seal","bytesDone":1,"bytesTotal":2,"entriesDone":3}')).toEqual({
      name: 'seal',
      bytesDone: 1,
      bytesTotal: 2,
      entriesDone: 3,
    });
    for (const other of ['', 'null', '"text"', '{"phase":1}', '{"phase":"x"}']) expect(barOf(other)).toBeNull();
  });
});

test('the line of a job says what it waits for', () => {
  const progressLine = '💾 Backed Up: 0 B | ✅ Validated: 0 | 🔄 Replicating: waiting';
  const status: BackupStatus = {
    ...{ source: 'shop', pointId: null, phase: 'slot', progressLine, phases: [] },
    ...{ queuePosition: 3, queueReason: null, pausedUntil: null },
  };
  expect(jobLine(status)).toBe(`slot      ${progressLine} | place 3 in the queue`);
  expect(jobLine({ ...status, queueReason: 'the WAL of db waits' })).toBe(
    `slot      ${progressLine} | place 3 in the queue, while only critical sources get slots: the WAL of db waits`,
  );
  expect(jobLine({ ...status, phase: 'window', queuePosition: null, pausedUntil: '2026-03-01T22:00:00.000Z' })).toBe(
    `window    ${progressLine} | its hours begin at 2026-03-01T22:00:00.000Z`,
  );
});
