import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { readYaml } from '../../policies/yaml-text.ts';

const text = `# a comment
site:
  region: us-east-1
copies:
  - name: disk
    tags: { Lifecycle: Archive }
  - &west
    name: west
  - *west
`;

describe('what a YAML text says', () => {
  test('is plain data', () => {
    expect(readYaml(text)).toMatchObject({
      value: {
        site: { region: 'us-east-1' },
        copies: [{ name: 'disk', tags: { Lifecycle: 'Archive' } }, { name: 'west' }, { name: 'west' }],
      },
      errors: [],
    });
  });

  test.each(['', '# nothing but a comment\n', '---\n'])('is nothing when it holds nothing: %j', (empty) => {
    expect(readYaml(empty).value ?? null).toBeNull();
    expect(readYaml(empty).errors).toEqual([]);
  });

  test('may be JSON', () => {
    expect(readYaml('{"version": 1, "copies": []}').value).toEqual({ version: 1, copies: [] });
  });

  test('is what was written, whatever it was', () => {
    const key = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9]{0,8}$/).filter((k) => k !== '__proto__');
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null)),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const read = readYaml(stringify(value));
        expect(read.errors).toEqual([]);
        expect(read.value).toEqual(value === undefined ? null : JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

describe('where a thing stands', () => {
  test.each<[(string | number)[], number, number]>([
    [[], 2, 1],
    [['site', 'region'], 3, 3],
    [['copies', 0], 5, 5],
    [['copies', 0, 'tags', 'Lifecycle'], 6, 13],
    [['copies', 1, 'name'], 8, 5],
  ])('is known for %j: line %i, column %i', (path, line, column) => {
    expect(readYaml(text).placeOf(path)).toEqual({ line, column });
  });

  test('is where its nearest ancestor stands, when it is not there', () => {
    const { placeOf } = readYaml(text);
    expect(placeOf(['site', 'nothing', 'more'])).toEqual({ line: 2, column: 1 });
    expect(placeOf(['copies', 0, 'bucket'])).toEqual({ line: 5, column: 5 });
  });

  test('is where the anchor stands for what an alias says', () => {
    expect(readYaml(text).placeOf(['copies', 2, 'name'])).toEqual({ line: 8, column: 5 });
  });
});

describe('what is no YAML', () => {
  test.each([
    ['a: b: c', 1, 'two colons'],
    ['a: 1\n\tb: 2', 2, 'tab'],
    ['a: 1\na: 2', 2, 'stands twice'],
    ['a: "b', 1, 'closing quote'],
    ['a: [b, c', 1, 'bracket before it is not closed'],
    ['a: 1\n---\nb: 2', 2, 'second document'],
    ['a: *b', 1, 'must be in quotes'],
    ['a: !secret b', 1, '"!" must be in quotes'],
    ['a: @b', 1, 'must be in quotes'],
    ['a: "\\q"', 1, 'single quotes'],
    ['a: b\n c: d', 1, 'colon'],
  ])('is named with its line, in words of ours: %j', (wrong, line, words) => {
    const { value, errors } = readYaml(wrong);
    expect(value).toBeUndefined();
    expect(errors[0]).toMatchObject({ line, text: expect.stringContaining(words) });
  });

  test('includes aliases that unfold to something enormous', () => {
    const layers = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`);
    const bomb = `l0: &l0 [x, x, x, x, x, x, x, x, x]\n${layers.join('\n')}\n`;
    expect(readYaml(bomb).errors).toMatchObject([{ text: expect.stringContaining('unfolds to far too much') }]);
  });

  test('is never repeated: it may be a password', () => {
    for (const wrong of [
      'pw: *hunter22',
      'pw: @hunter22',
      'pw: "hunter22',
      'pw: a: hunter22',
      'pw: !hunter22 x',
      'pw: %hunter22',
      '- hunter22\n hunter22: x: y',
    ]) {
      const { errors } = readYaml(wrong);
      expect(errors.length).toBeGreaterThan(0);
      expect(JSON.stringify(errors)).not.toContain('hunter22');
    }
  });

  test('is never a crash, whatever the text', () => {
    const pieces = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '- ',
      '*',
      '&',
      '!',
      '"',
      "'",
      '{',
      '}',
      '[',
      ']',
      '#',
      '|',
      '>',
      '%',
      '\t',
      '---',
      ',',
      '?',
      '<<',
      '\\',
      '@',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const { errors, placeOf } = readYaml(parts.join(''));
        for (const { line, column } of [...errors, placeOf(['a', 0])]) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(column).toBeGreaterThanOrEqual(1);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
