import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { Failure } from './failure.ts';
import { crossCheck } from './cross-check.ts';
import { type Policy, policySchema } from './policy.ts';
import { nearest } from './spelling.ts';

interface Problem {
  line: number;
  column: number;
  text: string;
}

type Path = readonly PropertyKey[];

/**
 * Reads a policy file's text. Throws one PolicyInvalid that lists every problem as `file:line:column`, with what was
 * found, what is expected and, for names that are nearly right, what was probably meant. Values are never repeated, for
 * one may be a secret in the wrong place.
 */
export function parsePolicy(text: string, fileName: string): Policy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  if (document.errors.length > 0) {
    throw invalid(fileName, document.errors.map((e) => ({ ...at(e.pos[0]), text: firstSentence(e.message) })));
  }
  const value: unknown = document.toJS();
  const place = (path: Path, key?: string) => at(offsetOf(document.contents, path, key));
  const parsed = policySchema.safeParse(value);
  if (!parsed.success) {
    throw invalid(fileName, parsed.error.issues.flatMap((issue) => problemsOf(issue, value, place)));
  }
  const findings = crossCheck(parsed.data);
  if (findings.length > 0) {
    throw invalid(fileName, findings.map((f) => ({ ...place(f.path), text: `${nameOf(f.path)}${f.message}` })));
  }
  return parsed.data;
}

function problemsOf(issue: z.core.$ZodIssue, value: unknown, place: (path: Path, key?: string) => Omit<Problem, 'text'>): Problem[] {
  const path = issue.path;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => {
        const hint = nearest(key, knownKeys(path, value));
        return { ...place(path, key), text: `${nameOf([...path, key])}there is no such key${hint ? `; did you mean "${hint}"?` : ''}` };
      });
    case 'invalid_value': {
      const wanted = issue.values.map(String);
      const found = valueAt(value, path);
      const hint = typeof found === 'string' ? nearest(found, wanted) : undefined;
      return [{ ...place(path), text: `${nameOf(path)}expected ${wanted.join(', ')}${hint ? `; did you mean "${hint}"?` : ''}` }];
    }
    case 'invalid_union': {
      if (issue.discriminator === undefined) break;
      const wanted = kindsOf(path);
      const found = valueAt(value, [...path, issue.discriminator]);
      const hint = typeof found === 'string' ? nearest(found, wanted) : undefined;
      const at = [...path.filter((p) => p !== issue.discriminator), issue.discriminator];
      return [{ ...place(at), text: `${nameOf(at)}expected ${wanted.join(', ')}${hint ? `; did you mean "${hint}"?` : ''}` }];
    }
    case 'invalid_type':
      if (valueAt(value, path) === undefined) return [{ ...place(path), text: `${nameOf(path)}is missing (${issue.expected})` }];
      return [{ ...place(path), text: `${nameOf(path)}expected ${issue.expected}` }];
    default:
      break;
  }
  return [{ ...place(path), text: `${nameOf(path)}expected ${issue.message}` }];
}

/** `sources[1].connection.port: ` */
function nameOf(path: Path): string {
  let name = '';
  for (const part of path) name += typeof part === 'number' ? `[${part}]` : `${name === '' ? '' : '.'}${String(part)}`;
  return name === '' ? '' : `${name}: `;
}

/** The keys that the schema knows at a path; discriminated by the `kind` that stands there. */
function knownKeys(path: Path, value: unknown): string[] {
  const kind = valueAt(value, [...path, 'kind']);
  const keys = new Set<string>();
  for (const schema of schemasAt(path, value)) {
    const shape = shapeOf(schema);
    if (!shape) continue;
    const own = literalOf(shape.kind);
    if (own !== undefined && typeof kind === 'string' && own !== kind) continue;
    for (const key of Object.keys(shape)) keys.add(key);
  }
  return [...keys];
}

function kindsOf(path: Path): string[] {
  const options = schemasAt(path.at(-1) === 'kind' ? path.slice(0, -1) : path, undefined);
  return options.flatMap((s) => literalOf(shapeOf(s)?.kind) ?? []);
}

type Schema = z.core.$ZodType;

function schemasAt(path: Path, value: unknown): Schema[] {
  let current: Schema[] = [policySchema];
  for (const [i, part] of path.entries()) {
    const kind = valueAt(value, [...path.slice(0, i), 'kind']);
    current = current.flatMap((schema) => {
      if (typeof part === 'number') return expand(elementOf(schema));
      const shape = shapeOf(schema);
      const own = literalOf(shape?.kind);
      if (own !== undefined && typeof kind === 'string' && own !== kind) return [];
      return expand(shape?.[String(part)]);
    });
  }
  return current;
}

/** Looks through defaults, optionals and unions. */
function expand(schema: Schema | undefined): Schema[] {
  if (!schema) return [];
  const def = schema._zod.def as unknown as { type: string; innerType?: Schema; options?: Schema[] };
  if (def.innerType) return expand(def.innerType);
  if (def.type === 'union' && def.options) return def.options.flatMap(expand);
  return [schema];
}

function elementOf(schema: Schema): Schema | undefined {
  return (schema._zod.def as unknown as { element?: Schema }).element;
}

function shapeOf(schema: Schema): Record<string, Schema> | undefined {
  return (schema._zod.def as unknown as { shape?: Record<string, Schema> }).shape;
}

function literalOf(schema: Schema | undefined): string | undefined {
  const values = (schema?._zod.def as unknown as { values?: unknown[] } | undefined)?.values;
  return typeof values?.[0] === 'string' ? values[0] : undefined;
}

function valueAt(value: unknown, path: Path): unknown {
  let at: unknown = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

/** Where the node at a path stands in the text; its nearest ancestor when it is not there. */
function offsetOf(root: unknown, path: Path, key?: string): number {
  let node: unknown = root;
  let offset = rangeOf(root);
  for (const part of key === undefined ? path : [...path, key]) {
    if (isMap(node)) {
      const pair = node.items.find((p) => isPair(p) && isScalar(p.key) && p.key.value === part);
      if (!pair) break;
      offset = rangeOf(pair.key);
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      offset = rangeOf(node);
    } else break;
  }
  return offset;
}

function rangeOf(node: unknown): number {
  return (node as Node | null)?.range?.[0] ?? 0;
}

function firstSentence(message: string): string {
  return message.split('\n')[0]?.replace(/ at line.*$/, '') ?? message;
}

function invalid(fileName: string, problems: Problem[]): Failure {
  const lines = problems
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .map((p) => `${fileName}:${p.line}:${p.column}: ${p.text}`);
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  return new Failure('PolicyInvalid', `The policy file has ${count}:\n${lines.join('\n')}`, {
    next: 'Correct what is named; policies/default.yaml explains every key.',
    details: { problems: problems.length },
  });
}
