import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { isScalar, LineCounter, parseDocument, visit } from 'yaml';
import { type JsonSchema, policyJsonSchema, policyJsonSchemaText } from '../../policies/json-schema.ts';
import { readPolicy } from '../../policies/parse.ts';

const room = path.resolve(import.meta.dirname, '..', '..', 'policies');
const text = await readFile(path.join(room, 'default.yaml'), 'utf8');

/** Every key of the policy, with what the schema says of it. Those that several kinds share are the same. */
function keysOf(schema: JsonSchema): { key: string; description: string | undefined }[] {
  const { items } = schema;
  const within = [...(schema.oneOf ?? []), ...(schema.anyOf ?? []), ...(Array.isArray(items) ? items : [items])];
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, inner]) =>
    typeof inner === 'object' ? [{ key, description: inner.description }, ...keysOf(inner)] : [],
  );
  return [...own, ...within.flatMap((inner) => (typeof inner === 'object' ? keysOf(inner) : []))];
}

/** Every key in the file, with the comment right above it. */
function keysInFile(): { key: string; comment: string }[] {
  const lines = text.split('\n');
  const counter = new LineCounter();
  const found: { key: string; comment: string }[] = [];
  visit(parseDocument(text, { lineCounter: counter }), {
    Pair: (_, { key }) => {
      if (!isScalar(key)) return;
      const above = lines[counter.linePos(key.range?.[0] ?? 0).line - 2] ?? '';
      found.push({ key: String(key.value), comment: /^ *# (.*)$/.exec(above)?.[1] ?? '' });
    },
  });
  return found;
}

describe('policies/default.yaml', () => {
  test('is a policy with neither problem nor warning', () => {
    expect(readPolicy(text, 'default.yaml').warnings).toEqual([]);
  });

  test('has every key of the schema, explained in one line where it stands first, in the words of the schema', () => {
    const explained = new Set(keysInFile().map(({ key, comment }) => `${key}: ${comment}`));
    const wanted = keysOf(policyJsonSchema()).map(({ key, description }) => `${key}: ${description}`);
    expect(wanted.filter((line) => !explained.has(line))).toEqual([]);
  });

  test('names the schema that editors check it with', () => {
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=./policy.schema.json');
  });
});

test('policies/policy.schema.json is what the schema says now; if not: npm run policy-schema', async () => {
  expect(await readFile(path.join(room, 'policy.schema.json'), 'utf8')).toBe(policyJsonSchemaText());
});
