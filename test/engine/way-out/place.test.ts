import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { assembleWayOut, placeWayOut } from '../../../engine/way-out/index.ts';
import { failureOf } from '../artifact/sealing.ts';

let dir: string;
let store: Store;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'way-out-'));
  store = createDirectoryStore({ name: 'shelf', path: dir });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const laid = () => readdirSync(dir).filter((name) => !name.startsWith('.'));

describe('the way out', () => {
  test('is one script and one page, named after what they hold', () => {
    const { script, page } = assembleWayOut();
    for (const { name, text } of [script, page]) {
      const hash = createHash('sha256').update(text).digest('hex').slice(0, 12);
      expect(name).toMatch(new RegExp(`^(restore-${hash}\\.mjs|RESTORE-${hash}\\.md)$`));
    }
    expect(page.text).toContain(`sha256sum ${script.name}`);
    expect(page.text).not.toContain('restore.mjs');
  });

  test('is made of every module, and imports nothing but what Node.js brings', () => {
    const { script } = assembleWayOut();
    const folder = path.join(import.meta.dirname, '../../../engine/way-out');
    for (const name of readdirSync(folder).filter((n) => n.endsWith('.mjs')))
      expect(script.text).toContain(`// ── ${name.slice(0, -4)} ─`);
    const imports = [...script.text.matchAll(/^import .* from '(.*)';$/gm)].map(([, from]) => from);
    expect(imports.length).toBeGreaterThan(4);
    expect(imports.filter((from) => !from?.startsWith('node:'))).toEqual([]);
    expect(script.text).not.toMatch(/^export |\bawait import\(|\brequire\(|\bfetch\(|node:(net|http|https|dgram|tls)/m);
  });

  test('is laid into a store once, and costs no more than a look afterwards', async () => {
    await placeWayOut(store);
    const { script, page } = assembleWayOut();
    expect(laid().sort()).toEqual([page.name, script.name].sort());
    expect(readFileSync(path.join(dir, script.name), 'utf8')).toBe(script.text);
    const calls: string[] = [];
    const watched = new Proxy(store, {
      get(target, name: keyof Store) {
        calls.push(name);
        return target[name];
      },
    });
    await placeWayOut(watched);
    expect(calls).toEqual(['head', 'head']);
  });

  test('is laid by several jobs at once', async () => {
    await Promise.all(Array.from({ length: 4 }, () => placeWayOut(store)));
    expect(laid()).toHaveLength(2);
  });

  test('is not laid over anything: something else under its name is told', async () => {
    const { script } = assembleWayOut();
    writeFileSync(path.join(dir, script.name), 'somebody else was here');
    const failure = await failureOf(placeWayOut(store));
    expect(failure).toMatchObject({ type: 'ObjectExists', message: expect.stringContaining(script.name) });
    expect(readFileSync(path.join(dir, script.name), 'utf8')).toBe('somebody else was here');
  });

  test('is laid beside an older one, which stays', async () => {
    writeFileSync(path.join(dir, 'restore-0123456789ab.mjs'), 'older');
    mkdirSync(path.join(dir, 'shop'));
    await placeWayOut(store);
    expect(laid()).toHaveLength(4);
  });
});
