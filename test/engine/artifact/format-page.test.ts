import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { frameBytesMax } from '../../../engine/artifact/index.ts';
import { encodeEntry, manifestFormat } from '../../../engine/artifact/manifest.ts';
import { artifactNames, backupFormat, backupJson, keyName, manifestName } from '../../../policies/recovery-point.ts';
import { entryOf } from './sealing.ts';

/** docs/format.md says what the code does: whoever adds a field has to describe it. */

const page = readFileSync(path.join(import.meta.dirname, '../../../docs/format.md'), 'utf8');
const codeOnPage = [...page.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '').join('\n');

/** Every name of a field in a schema, at any depth. */
function fieldsOf(schema: unknown): string[] {
  const { shape, element, def } = schema as { shape?: object; element?: unknown; def?: { innerType?: unknown } };
  if (shape) return Object.entries(shape).flatMap(([name, inner]) => [name, ...fieldsOf(inner)]);
  const inner = element ?? def?.innerType;
  return inner ? fieldsOf(inner) : [];
}

test('the page of the format names every field of backup.json', () => {
  const fields = [...new Set(fieldsOf(backupJson))];
  expect(fields.length).toBeGreaterThan(40);
  expect(fields.filter((name) => !new RegExp(`\\b${name}\\b`).test(codeOnPage))).toEqual([]);
});

test('the page of the format names every key of a manifest entry', () => {
  const raw = Buffer.of(0xff);
  const lines = [
    entryOf('a', { uid: 1, gid: 1, user: '', group: '', ctimeNs: '1', dev: '1', ino: '1', size: 1, sparse: true }),
    entryOf(raw, { link: raw, rdev: { major: 1, minor: 1 }, xattrs: { a: raw }, streamed: true, unstable: true }),
    entryOf('b', { link: Buffer.from('a') }),
  ];
  const keys = new Set(lines.flatMap((entry) => Object.keys(JSON.parse(encodeEntry(entry)))));
  expect(keys.size).toBe(20);
  for (const key of keys) expect(page).toMatch(new RegExp(`^\\|[^|]*\`${key}\`[^|]*\\|`, 'm'));
});

test('the page of the format names every object and every number that a reader needs', () => {
  for (const name of [...Object.values(artifactNames), keyName, manifestName, backupFormat, manifestFormat])
    expect(page).toContain(name);
  expect(page).toContain(`at most ${frameBytesMax / 1024 / 1024} MiB once decompressed`);
});
