import type { z } from 'zod';
import { type JsonSchema, schemasAt, valueAt } from './json-schema.ts';
import { looksSecret } from './looks-secret.ts';
import { nearest } from './spelling.ts';
import type { Path } from './yaml-text.ts';

export interface Problem {
  path: Path;
  text: string;
}

/** What the schema finds wrong, as a person would say it: what was found, what is expected, what was likely meant. */
export function problemsOf(issue: z.core.$ZodIssue, policy: unknown): Problem[] {
  const { path } = issue;
  const one = (text: string): Problem[] => [{ path, text }];
  const found = valueAt(policy, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey([...path, key], key, policy));
    case 'invalid_value':
      return one(oneOf(issue.values, found, path, policy));
    case 'invalid_union': {
      const { discriminator } = issue;
      if (discriminator === undefined) break;
      const at = path.at(-1) === discriminator ? path.slice(0, -1) : path;
      const kinds = schemasAt(at, undefined).flatMap((s) => constOf(s.properties?.[discriminator]));
      const place = [...at, discriminator];
      return [{ path: place, text: oneOf(kinds, valueAt(policy, place), place, policy) }];
    }
    case 'invalid_type':
      return one(wrongType(issue.expected, found, path, policy));
    case 'too_small':
    case 'too_big':
      return one(wrongSize(issue, found, path, policy));
    case 'invalid_format': {
      const wanted = issue.format === 'url' ? 'a URL such as https://host:9000' : issue.message;
      return one(`expected ${wanted}, found ${foundWords(found, path, policy)}`);
    }
    default:
      break;
  }
  return one(`expected ${issue.message}, found ${foundWords(found, path, policy)}`);
}

/** `sources[1].connection.port`. A key that is no plain word is not shown: somebody may have pasted a secret there. */
export function nameOf(path: Path): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === 'number') return `${name}[${part}]`;
    const key =
      /^[\w.-]{1,40}$/.test(String(part)) && !looksSecret(String(part)) ? String(part) : '(a key not shown here)';
    return name === '' ? key : `${name}.${key}`;
  }, '');
}

function unknownKey(path: Path, key: string, policy: unknown): Problem {
  const known = schemasAt(path.slice(0, -1), policy).flatMap((s) => Object.keys(s.properties ?? {}));
  const meant = nearest(key, known);
  if (meant !== undefined) return { path, text: `there is no such key; did you mean "${meant}"?` };
  return { path, text: `there is no such key; known here: ${[...new Set(known)].join(', ')}` };
}

function oneOf(values: readonly unknown[], found: unknown, path: Path, policy: unknown): string {
  const wanted = values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v)));
  const list = wanted.length === 1 ? wanted[0] : `one of ${wanted.join(', ')}`;
  if (found === undefined) return `is missing; expected ${list}`;
  const meant = typeof found === 'string' ? nearest(found, wanted) : undefined;
  return `expected ${list}, found ${foundWords(found, path, policy)}${meant ? `; did you mean "${meant}"?` : ''}`;
}

const typeWords: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'keys and values',
  record: 'keys and values',
};

function wrongType(expected: string, found: unknown, path: Path, policy: unknown): string {
  const isWhole = expected === 'number' && schemasAt(path, policy).some((s) => s.type === 'integer');
  const wanted = isWhole ? typeWords.int : (typeWords[expected] ?? expected);
  if (found === undefined) return `is missing; expected ${wanted}`;
  const isPlain = typeof found === 'number' || typeof found === 'boolean';
  const isQuoted =
    ['number', 'int', 'boolean'].includes(expected) && typeof found === 'string' && /^(\d+|true|false)$/.test(found);
  const quotes = isPlain && expected === 'string' ? 'put it in quotes' : isQuoted ? 'take it out of its quotes' : '';
  const hint = quotes === '' || isSecretPlace(path, policy) ? '' : `; ${quotes}`;
  return `expected ${wanted}, found ${foundWords(found, path, policy)}${hint}`;
}

function wrongSize(
  issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig,
  found: unknown,
  path: Path,
  policy: unknown,
): string {
  const [word, limit] = issue.code === 'too_small' ? ['at least', issue.minimum] : ['at most', issue.maximum];
  const units: Record<string, string> = { string: ' characters', array: Number(limit) === 1 ? ' item' : ' items' };
  const unit = units[issue.origin] ?? '';
  const has = Array.isArray(found) ? String(found.length) : foundWords(found, path, policy);
  return `expected ${word} ${limit}${unit}, found ${has}`;
}

const shownLength = 40;

/** What was found, but never what is or may be a secret. */
function foundWords(found: unknown, path: Path, policy: unknown): string {
  if (found === undefined || found === null) return 'nothing';
  if (Array.isArray(found)) return 'a list';
  if (typeof found === 'object') return 'keys and values';
  const text = String(found);
  if (isSecretPlace(path, policy)) return 'a value in clear text, which is not shown here';
  if (looksSecret(text)) return 'something that looks like a secret, which is not shown here';
  if (text === '') return 'an empty text';
  const shown = text.length > shownLength ? `${text.slice(0, shownLength)}…` : text;
  return typeof found === 'string' ? JSON.stringify(shown) : shown;
}

/** Where the schema asks for a reference to a secret, somebody may have written the secret. */
function isSecretPlace(path: Path, policy: unknown): boolean {
  const name = String(path.findLast((p) => typeof p === 'string'));
  return (
    schemasAt(path, policy).some((s) => s.pattern?.startsWith('^(env:')) ||
    /pass|secret|token|identity|dsn|key/i.test(name)
  );
}

function constOf(schema: JsonSchema | boolean | undefined): unknown[] {
  return typeof schema === 'object' && schema.const !== undefined ? [schema.const] : [];
}
