import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';

/** docs/threat-model.md names the test behind each claim: whoever renames or removes one has to look at the claim. */

const root = path.resolve(import.meta.dirname, '..', '..');
const page = readFileSync(path.join(root, 'docs', 'threat-model.md'), 'utf8');

const claims = [...page.matchAll(/`(test\/[^`]+\.test\.ts)`: ((?:"[^"\n]+"(?:, )?)+)/g)].flatMap(
  ([, file = '', titles = '']) => [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => [title, file] as const),
);

describe('the threat model', () => {
  test('rests every claim on a test', () => {
    const inList = page.split('\n').filter((line) => line.startsWith('- ') && !line.startsWith('- **'));
    expect(inList.filter((line) => !line.includes('.test.ts`: "'))).toEqual([]);
    expect(claims.length).toBeGreaterThan(40);
  });

  test.each(claims)('names a test that there is: %s', (title, file) => {
    const there = path.join(root, file);
    expect([file, existsSync(there)]).toEqual([file, true]);
    // As it stands in the source, between its own quotes.
    const text = readFileSync(there, 'utf8');
    expect([`'${title}'`, `"${title}"`].some((quoted) => text.includes(quoted))).toBe(true);
  });
});
