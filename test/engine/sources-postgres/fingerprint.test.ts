import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  compareFingerprints,
  type Fingerprint,
  fingerprintScript,
} from '../../../engine/sources/postgres-logical/fingerprint.ts';

/** Feeds the script cut at the given places. */
function fingerprintOf(script: string | Buffer, cuts: number[] = []): Promise<Fingerprint> {
  const bytes = Buffer.from(script);
  const places = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks = [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
  return fingerprintScript(Readable.from(chunks, { objectMode: false }));
}

function copy(rows: string[], table = 'public.t (a, b)'): string {
  return `--\n-- Data for Name: t; Type: TABLE DATA\n--\n\nCOPY ${table} FROM stdin;\n${rows.map((r) => `${r}\n`).join('')}\\.\n\n\n`;
}

const row = fc.oneof(
  fc.string({ unit: 'binary' }).map((s) => s.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')),
  fc.constantFrom('', '\\N', '\\\\.', 'COPY public.x (a) FROM stdin;', 'SELECT pg_catalog.setval(1);', "it's", '"'),
);

describe('the fingerprint of a data script', () => {
  test('is the same in whatever order rows come and however the stream is cut', () =>
    fc.assert(
      fc.asyncProperty(
        fc
          .array(row, { maxLength: 30 })
          .chain((rows) => fc.tuple(fc.constant(rows), fc.shuffledSubarray(rows, { minLength: rows.length }))),
        fc.array(fc.nat(), { maxLength: 20 }),
        async ([rows, shuffled], cuts) => {
          const whole = await fingerprintOf(copy(rows));
          expect(whole.get('public.t (a, b)')?.rows ?? 0).toBe(rows.length);
          expect(compareFingerprints(whole, await fingerprintOf(copy(shuffled), cuts))).toEqual([]);
        },
      ),
    ));

  test('is another one when any bit of any row is another', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 10 }),
        fc.nat(),
        fc.nat({ max: 7 }),
        async (rows, at, bit) => {
          const script = Buffer.from(copy(rows));
          const from = script.indexOf(' FROM stdin;\n') + 13;
          const end = script.lastIndexOf('\\.\n');
          fc.pre(end - 1 > from);
          const damaged = Buffer.from(script);
          const place = from + (at % (end - 1 - from));
          damaged[place] = (damaged[place] ?? 0) ^ (1 << bit);
          // A row that became the end of the block, or two rows that became one, are other scripts altogether.
          const differences = compareFingerprints(await fingerprintOf(script), await fingerprintOf(damaged));
          expect(differences.length).toBeGreaterThan(0);
        },
      ),
    ));

  test('tells rows apart that differ by a shift of their bytes, a zero byte more, or a swap between rows', async () => {
    const pairs = [
      [['ab\tc'], ['a\tbc']],
      [['a'], ['a\0']],
      [['\0\0\0'], ['\0\0\0\0']],
      [
        ['1\tx', '2\ty'],
        ['1\ty', '2\tx'],
      ],
      [
        ['a', 'a', 'b'],
        ['a', 'b', 'b'],
      ],
      [['', ''], ['']],
    ];
    for (const [one = [], other = []] of pairs) {
      expect(compareFingerprints(await fingerprintOf(copy(one)), await fingerprintOf(copy(other)))).toHaveLength(1);
    }
  });

  test('reads names with line ends, quotes, brackets and the words of the statement itself', async () => {
    const table = `"Sales"."Ord""ers\n 2, (x) FROM stdin; é" ("FROM", b)`;
    const found = await fingerprintOf(copy(['1', '2'], table), [60, 61, 62, 63]);
    expect([...found]).toEqual([[table, { rows: 2, checksum: expect.stringMatching(/^[0-9a-f]{32}$/) }]]);
    expect(compareFingerprints(found, new Map())).toEqual([
      `"Sales"."Ord""ers\n 2, (x) FROM stdin; é" is missing with its 2 rows`,
    ]);
  });

  test('takes a large object as one, however it is cut into writes', async () => {
    const object = (...writes: string[]) =>
      `BEGIN;\n\nSELECT pg_catalog.lo_open('4711', 131072);\n${writes.map((w) => `SELECT pg_catalog.lowrite(0, '\\x${w}');\n`).join('')}SELECT pg_catalog.lo_close(0);\n\nCOMMIT;\n`;
    const whole = await fingerprintOf(object('00ff5c27'));
    expect(whole.get('(large objects)')?.rows).toBe(1);
    expect(compareFingerprints(whole, await fingerprintOf(object('00', 'ff5c', '27')))).toEqual([]);
    expect(compareFingerprints(whole, await fingerprintOf(object('00', 'ff5c', '28')))).toHaveLength(1);
    expect(compareFingerprints(whole, await fingerprintOf(object('00ff5c27').replace('4711', '4712')))).toHaveLength(1);
  });

  test('counts sequences by their position', async () => {
    const at = (n: number) => `SELECT pg_catalog.setval('public."o''dd"', ${n}, true);\n`;
    const found = await fingerprintOf(at(7) + at(8));
    expect(found.get('(sequences)')?.rows).toBe(2);
    expect(compareFingerprints(found, await fingerprintOf(at(7) + at(9)))).toHaveLength(1);
  });

  test('says what differs: tables that are missing, too many, or of another length', async () => {
    const dump = await fingerprintOf(
      copy(['1'], 'public.gone (a)') + copy(['1', '2'], 'public.short (a)') + copy([], 'public.none (a)'),
    );
    const found = await fingerprintOf(copy(['1'], 'public.short (a)') + copy(['1'], 'public.more (a)'));
    expect(compareFingerprints(dump, found)).toEqual([
      'public.gone is missing with its 1 rows',
      'public.short has 1 rows instead of 2',
      'public.more is there but not in the dump',
    ]);
  });
});
