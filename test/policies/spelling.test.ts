import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nearest } from '../../policies/spelling.ts';

const keys = ['region', 'recipients', 'endpoint', 'deadline', 'storageClass', 'on', 'rpo', 'rto'];

describe('the name that was probably meant', () => {
  test.each([
    ['regoin', 'region'],
    ['regio', 'region'],
    ['reggion', 'region'],
    ['Region', 'region'],
    ['recipents', 'recipients'],
    ['storage-class', 'storageClass'],
    ['onn', 'on'],
    ['rop', 'rpo'],
  ])('for "%s" is %s', (word, meant) => {
    expect(nearest(word, keys)).toBe(meant);
  });

  test.each(['colour', 'xx', '', 'deadlineinthefarfuture'])('for "%s" is none', (word) => {
    expect(nearest(word, keys)).toBeUndefined();
  });

  test('among none is none', () => {
    expect(nearest('region', [])).toBeUndefined();
  });
});

describe('whatever the names', () => {
  const word = fc.stringMatching(/^[a-z]{3,12}$/);

  test('a name that is right is found', () => {
    fc.assert(fc.property(word, fc.array(word), (name, others) => expect(nearest(name, [...others, name])).toBe(name)));
  });

  test('one slip of the finger is forgiven: a letter lost, doubled, mistyped, or two swapped', () => {
    const slips: ((name: string, at: number) => string)[] = [
      (n, i) => n.slice(0, i) + n.slice(i + 1),
      (n, i) => n.slice(0, i) + n.charAt(i) + n.slice(i),
      (n, i) => `${n.slice(0, i)}#${n.slice(i + 1)}`,
      (n, i) => n.slice(0, i) + n.charAt(i + 1) + n.charAt(i) + n.slice(i + 2),
    ];
    fc.assert(
      fc.property(word, fc.nat(), fc.constantFrom(...slips), (name, at, slip) => {
        expect(nearest(slip(name, at % name.length), [name])).toBe(name);
      }),
    );
  });
});
