import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parse as parseYaml, stringify } from 'yaml';
import { Failure } from '../../policies/failure.ts';
import { valueAt } from '../../policies/json-schema.ts';
import { parsePolicy, readPolicy } from '../../policies/parse.ts';
import { examplePolicy } from './example-policy.ts';

const good = examplePolicy;

/** The lines of the refusal, without the first, which counts them; none when the policy is taken. */
function problems(text: string): string[] {
  return refusal(text)?.message.split('\n').slice(1) ?? [];
}

function refusal(text: string): Failure | null {
  try {
    readPolicy(text, 'policy.yaml');
    return null;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

/** The good policy with one text in it replaced; it must be there. */
function changed(from: string, to: string): string {
  expect(good).toContain(from);
  return good.replace(from, to);
}

/** `line:column` of the first place where a text stands in the good policy. */
function placeOf(text: string): string {
  const before = good.slice(0, good.indexOf(text)).split('\n');
  return `${before.length}:${(before.at(-1) ?? '').length + 1}`;
}

describe('a policy that is wrong', () => {
  test('is refused with one failure that counts and lists every problem, in the order of lines', () => {
    const text = good.replace('backupSlots: 3', 'backupSlots: 0').replace('version: 1', 'version: 2');
    expect(refusal(text)).toMatchObject({
      type: 'PolicyInvalid',
      message: expect.stringContaining('has 2 problems:\npolicy.yaml:'),
      next: expect.stringContaining('policies/default.yaml'),
      details: { problems: 2 },
    });
    expect(problems(text)).toEqual([
      `policy.yaml:${placeOf('version:')}: version: expected 1, found 2`,
      `policy.yaml:${placeOf('backupSlots')}: limits.backupSlots: expected at least 1, found 0`,
    ]);
  });

  test.each([
    ['namespace: default', 'namspace: default', 'temporal.namspace: there is no such key; did you mean "namespace"?'],
    ['address: 127', 'colour: 127', 'temporal.colour: there is no such key; known here: address, namespace'],
    ['kind: files', 'kind: fils', 'found "fils"; did you mean "files"?'],
    ['    kind: files\n', '', 'sources[1].kind: is missing; expected one of postgres-logical, '],
    [
      'port: 5432',
      'port: "5432"',
      'sources[0].connection.port: expected a whole number, found "5432"; take it out of its quotes',
    ],
    ['port: 5432', 'port: 70000', 'sources[0].connection.port: expected at most 65535, found 70000'],
    ['port: 5432', 'port: 54.32', 'sources[0].connection.port: expected a whole number, found 54.32'],
    ['critical: true', 'critical: yes', 'sources[0].critical: expected true or false, found "yes"'],
    ['database: shop', 'database: 7', 'sources[0].connection.database: expected a text, found 7; put it in quotes'],
    ['sslmode: verify-full', 'sslmode: verify-fll', 'did you mean "verify-full"?'],
    [
      'rpo: 24h',
      'rpo: 1 day',
      'sources[0].rpo: expected a number above 0 and a unit, e.g. 90s, 15m, 4h, 7d, found "1 day"',
    ],
    [
      'path: /srv/documents',
      'path: srv/documents',
      'sources[1].path: expected an absolute path, found "srv/documents"',
    ],
    ['path: /srv/documents', 'path:', 'sources[1].path: expected a text, found nothing'],
    ['path: /srv/documents', 'path: ""', 'sources[1].path: expected an absolute path, found an empty text'],
    ['include: []', 'include: all', 'sources[1].include: expected a list, found "all"'],
    ['to: [operations@example.com]', 'to: []', 'notifications[1].to: expected at least 1 item, found 0'],
    ['bucket: backup\n', 'bucket: b\n', 'copies[2].bucket: expected at least 3 characters, found "b"'],
    [
      'endpoint: https://s3.example.com:9000',
      'endpoint: s3.example.com',
      'expected a URL such as https://host:9000, found "s3.example.com"',
    ],
    ['on: [failure]', 'on: [failures]', 'found "failures"; did you mean "failure"?'],
    ['name: documents', 'name: shop', 'sources[1].name: sources[0] is named "shop" already'],
  ])('%j for %j is told what is expected and what was meant', (from, to, words) => {
    const found = problems(changed(from, to));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(words);
  });

  test.each([
    ['', 'policy.yaml:1:1: the file is empty'],
    ['# nothing\n', 'policy.yaml:1:1: the file is empty'],
    ['just a text', 'policy.yaml:1:1: expected keys and values, found "just a text"'],
    ['- a\n- list', 'policy.yaml:1:1: expected keys and values, found a list'],
    ['a: [', 'policy.yaml:1:'],
  ])('%j is refused as a whole', (text, words) => {
    expect(problems(text)[0]).toContain(words);
  });

  test('is placed where the key stands, or its nearest ancestor when it is missing', () => {
    expect(problems(changed('region: us-east-1', 'regoin: us-east-1'))).toEqual([
      `policy.yaml:${placeOf('site:')}: site.region: is missing; expected a text`,
      `policy.yaml:${placeOf('region:')}: site.regoin: there is no such key; did you mean "region"?`,
    ]);
    const without = good.replace(/\n {2}dsn: .*/, '\n  # gone');
    expect(problems(without)[0]).toMatch(/^policy\.yaml:\d+:1: catalog: expected keys and values, found nothing/);
  });

  test('shows no more than forty characters of what was found', () => {
    const long = 'no such duration, '.repeat(30);
    expect(problems(changed('rpo: 24h', `rpo: ${long}`))[0]).toContain(
      'found "no such duration, no such duration, no s…"',
    );
  });
});

describe('a policy that is right', () => {
  test('is taken with the defaults filled in, and its warnings placed', () => {
    const { policy, warnings } = readPolicy(changed('    deadline: 24h', '    deadline: 48h'), 'policy.yaml');
    expect(policy.copies[2]).toMatchObject({ deadline: '24h', storageClass: 'STANDARD_IA' });
    expect(warnings).toEqual([
      expect.stringMatching(/^policy\.yaml:\d+:5: copies\[1\]\.deadline: may take 48h, longer than/),
    ]);
    expect(parsePolicy(good, 'policy.yaml').sources).toHaveLength(2);
  });

  test('may use anchors', () => {
    const text = good.replace('accessKeyId: env:BACKUP_WEST_KEY_ID', 'accessKeyId: &id env:BACKUP_WEST_KEY_ID');
    const { policy } = readPolicy(text.replace('accessKeyId: file:/etc/backup/own-s3-key-id', 'accessKeyId: *id'), 'p');
    expect(policy.copies[2]).toMatchObject({ accessKeyId: 'env:BACKUP_WEST_KEY_ID' });
  });
});

/** All places in plain data below the root. */
function placesIn(value: unknown, at: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [at];
  return [...(at.length > 0 ? [at] : []), ...Object.entries(value).flatMap(([key, v]) => placesIn(v, [...at, key]))];
}

const letters = (alphabet: string, min: number, max = min) =>
  fc.array(fc.constantFrom(...alphabet), { minLength: min, maxLength: max }).map((l) => l.join(''));
const base64 = letters('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789', 24, 60);
const lower = letters('abcdefghijklmnopqrstuvwxyz', 6, 12);

/** What people paste by mistake: each is a secret in any place. */
const secret = fc.oneof(
  base64,
  letters('0123456789abcdef', 32, 64).filter((h) => /\d/.test(h)),
  base64.map((k) => `AGE-SECRET-KEY-1${k.toUpperCase()}`),
  base64.map((k) => `-----BEGIN PRIVATE KEY-----\n${k}\n-----END PRIVATE KEY-----`),
  letters('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16).map((k) => `AKIA${k}`),
  letters('abcXYZ0123456789', 16).map((k) => `ghp_${k}`),
  fc.tuple(lower, lower).map(([user, pw]) => `postgresql://${user}:${pw}@db.example/shop`),
  fc.tuple(lower, lower).map(([user, pw]) => `postgresql://${user}:a/${pw}@db.example/shop`),
  // A password as rules for passwords want it.
  fc.tuple(lower, fc.constantFrom('A', 'Q', 'Z'), fc.integer({ min: 10, max: 99 })).map(([l, u, n]) => `${u}${l}${n}`),
  fc
    .tuple(lower, fc.constantFrom('!', '$', '#', '&'), fc.integer({ min: 10, max: 99 }))
    .map(([l, s, n]) => `${l}${s}${n}`),
);

/** Nothing that a person could recognise a secret by: six characters of its core in a row. */
function expectUntold(text: string, told: string[]): void {
  const all = told.join('\n');
  for (const line of text.split('\n').filter((l) => !l.startsWith('-----'))) {
    const core = line.replace(/^(AGE-SECRET-KEY-1|AKIA|ghp_|postgresql:\/\/)/, '').replace(/@db\.example\/shop$/, '');
    expect(all).not.toContain(core);
    if (core.length >= 24) expect(all).not.toContain(core.slice(0, 12));
    const password = /:(?:a\/)?([^:]*)$/.exec(core)?.[1];
    if (password !== undefined && line.includes('://')) expect(all).not.toContain(password);
  }
}

/** Everything that reading a policy tells: the failure with its next step and details, or warnings. */
function toldOf(text: string): string[] {
  try {
    return readPolicy(text, 'policy.yaml').warnings;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [error.message, error.next, JSON.stringify(error.details)];
  }
}

describe('a secret is never repeated', () => {
  const value: unknown = parseYaml(good);
  const places = placesIn(value);

  test('when it stands in place of any value', () => {
    fc.assert(
      fc.property(fc.constantFrom(...places), secret, (at, pasted) => {
        const copy = structuredClone(value);
        (valueAt(copy, at.slice(0, -1)) as Record<string, unknown>)[at.at(-1) ?? ''] = pasted;
        expectUntold(pasted, toldOf(stringify(copy)));
      }),
      { numRuns: 100 },
    );
  });

  test('when it stands as a key anywhere', () => {
    const maps = [[], ...places.filter((p) => typeof valueAt(value, p) === 'object')];
    fc.assert(
      fc.property(fc.constantFrom(...maps), secret, fc.constantFrom<unknown>('x', 5, null), (at, pasted, inner) => {
        const copy = structuredClone(value);
        const map = valueAt(copy, at) as Record<string, unknown> | unknown[];
        if (Array.isArray(map)) map.push({ [pasted]: inner });
        else map[pasted] = inner;
        expectUntold(pasted, toldOf(stringify(copy)));
      }),
      { numRuns: 100 },
    );
  });

  test('when it is pasted into the middle of the text, wherever', () => {
    fc.assert(
      fc.property(fc.nat({ max: good.length }), secret, fc.boolean(), (at, pasted, asLine) => {
        const text = good.slice(0, at) + (asLine ? `\n${pasted}\n` : pasted) + good.slice(at);
        expectUntold(pasted, toldOf(text));
      }),
      { numRuns: 100 },
    );
  });

  test('when it is only a word, but stands where a reference to a secret belongs', () => {
    const references = places.filter((p) => /^(env|file):/.test(String(valueAt(value, p))));
    expect(references.length).toBeGreaterThan(8);
    const word = fc.oneof(
      lower,
      fc.integer({ min: 100_000, max: 999_999_999 }),
      fc.constantFrom('hunter22', 'Correct Horse'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...references), word, (at, pasted) => {
        const copy = structuredClone(value);
        (valueAt(copy, at.slice(0, -1)) as Record<string, unknown>)[at.at(-1) ?? ''] = pasted;
        const told = toldOf(stringify(copy));
        expect(told.length).toBeGreaterThan(0);
        expect(told.join('\n')).not.toContain(String(pasted));
      }),
      { numRuns: 100 },
    );
  });
});

describe('a policy of which somebody else gives the rest', () => {
  const sources = `# mine\nsources:\n  - name: docs\n    kind: fils\n    path: /srv/docs\n`;
  const { sources: _replaced, ...rest } = parseYaml(good) as Record<string, unknown>;

  test('takes what the text does not have from there', () => {
    const { policy } = readPolicy(sources.replace('fils', 'files'), 'own.yaml', rest);
    expect(policy).toMatchObject({ site: rest.site, sources: [{ name: 'docs', path: '/srv/docs' }] });
    expect(readPolicy('', 'own.yaml', parseYaml(good)).policy).toEqual(readPolicy(good, 'policy.yaml').policy);
  });

  test('is refused at the places of the text', () => {
    expect(() => readPolicy(sources, 'own.yaml', rest)).toThrow('own.yaml:4:5: sources[0].kind: expected one of');
  });
});
