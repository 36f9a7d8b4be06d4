import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { parse } from 'yaml';
import { policyJsonSchema, schemasAt, valueAt } from '../../policies/json-schema.ts';
import { policySchema } from '../../policies/policy.ts';

const file = path.resolve(import.meta.dirname, '..', '..', 'policies', 'default.yaml');
const example: unknown = parse(readFileSync(file, 'utf8'));
const policy = () => structuredClone(example);
const validate = new Ajv2020({ strictTypes: false, formats: { uri: URL.canParse } }).compile(policyJsonSchema());

/** Every place in plain data, the root first. */
function pathsOf(value: unknown, at: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...at, key]))];
}

describe('the schema for editors', () => {
  test('takes the example policy', () => {
    validate(policy());
    expect(validate.errors ?? []).toEqual([]);
  });

  test('takes and refuses what the schema of the program does, whatever is changed in the policy', () => {
    const places = pathsOf(policy()).filter((p) => p.length > 0);
    const anything = fc.oneof(
      fc.constantFrom(
        null,
        true,
        false,
        -1,
        0,
        1,
        3,
        70_000,
        0.5,
        '',
        '15m',
        '0m',
        '/srv',
        'env:A',
        'files',
        'age1',
        's3',
      ),
      fc.constantFrom([], {}, ['a'], [''], ['success'], { a: 'b' }, { kind: 'files' }, [{ kind: 's3' }]),
    );
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.constantFrom('set', 'remove', 'add'), anything, (at, how, value) => {
        const changed = policy();
        const key = at.at(-1) ?? '';
        const parent = valueAt(changed, at.slice(0, -1)) as Record<string, unknown>;
        if (how === 'set') parent[key] = value;
        else if (Array.isArray(parent))
          parent.splice(Number(key), how === 'remove' ? 1 : 0, ...(how === 'add' ? [value] : []));
        else if (how === 'remove') delete parent[key];
        else parent[`${key}x`] = value;
        expect(validate(changed)).toBe(policySchema.safeParse(changed).success);
      }),
      { numRuns: 250 },
    );
  });
});

describe('what may stand at a path', () => {
  test('is known for keys and items', () => {
    expect(schemasAt(['limits', 'backupSlots'], policy())).toMatchObject([{ type: 'integer', maximum: 64 }]);
    expect(schemasAt(['keys', 'recipients', 0], policy())).toMatchObject([{ pattern: '^age1.*' }]);
  });

  test('follows the kind that stands there', () => {
    const [source, ...others] = schemasAt(['sources', 2], policy());
    expect(others).toEqual([]);
    expect(Object.keys(source?.properties ?? {})).toContain('oneFileSystem');
  });

  test('is every alternative where the kind is not known', () => {
    expect(schemasAt(['copies', 0], { copies: [{ kind: 'floppy' }] }).length).toBeGreaterThan(1);
  });

  test('is nothing where nothing may stand', () => {
    expect(schemasAt(['sources', 'name'], policy())).toEqual([]);
    expect(schemasAt(['limits', 'backupSlots', 'more'], policy())).toEqual([]);
  });

  test('a value is found by its path, and nothing inherited', () => {
    expect(valueAt({ a: [{ b: 1 }] }, ['a', 0, 'b'])).toBe(1);
    expect(valueAt({ a: [] }, ['a', 'b', 'c'])).toBeUndefined();
    expect(valueAt({}, ['constructor'])).toBeUndefined();
  });
});
