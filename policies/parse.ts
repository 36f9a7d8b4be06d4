import { checkPolicy } from './cross-check.ts';
import { Failure } from './failure.ts';
import { type Policy, policySchema } from './policy.ts';
import { nameOf, type Problem, problemsOf } from './problems.ts';
import { type Place, readYaml } from './yaml-text.ts';

export interface ReadPolicy {
  policy: Policy;
  /** What is allowed but should be known, as `file:line:column: …`. */
  warnings: string[];
}

/**
 * Reads a policy file's text. Throws one PolicyInvalid that lists every problem as `file:line:column: path: …`, with
 * what was found, what is expected and, for names that are nearly right, what was probably meant. What is or may be a
 * secret is never repeated.
 *
 * @param defaults top-level keys that are used where the text has none
 */
export function readPolicy(text: string, fileName: string, defaults: Record<string, unknown> = {}): ReadPolicy {
  const { value: own, placeOf, errors } = readYaml(text);
  if (errors.length > 0) throw invalid(fileName, errors);
  const value = withDefaults(own, defaults);
  if (value === null || value === undefined)
    throw invalid(fileName, [{ line: 1, column: 1, text: 'the file is empty' }]);
  const placed = ({ path, text }: Problem) => ({
    ...placeOf(path),
    text: path.length > 0 ? `${nameOf(path)}: ${text}` : text,
  });
  const parsed = policySchema.safeParse(value);
  if (!parsed.success) {
    throw invalid(fileName, parsed.error.issues.flatMap((issue) => problemsOf(issue, value)).map(placed));
  }
  const findings = checkPolicy(parsed.data);
  const problems = findings.filter((f) => f.severity === 'error');
  if (problems.length > 0) throw invalid(fileName, problems.map(placed));
  const warnings = findings.map((f) => line(fileName, placed(f)));
  return { policy: parsed.data, warnings };
}

/** Like readPolicy, for those who have no use for warnings. */
export function parsePolicy(text: string, fileName: string): Policy {
  return readPolicy(text, fileName).policy;
}

function withDefaults(own: unknown, defaults: Record<string, unknown>): unknown {
  if (Object.keys(defaults).length === 0) return own;
  if (own === null || own === undefined) return defaults;
  return typeof own === 'object' && !Array.isArray(own) ? { ...defaults, ...own } : own;
}

type Placed = Place & { text: string };

function invalid(fileName: string, problems: Placed[]): Failure {
  const lines = problems.toSorted((a, b) => a.line - b.line || a.column - b.column).map((p) => line(fileName, p));
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  return new Failure('PolicyInvalid', `The policy file has ${count}:\n${lines.join('\n')}`, {
    next: 'Correct what is named; policies/default.yaml explains every key.',
    details: { problems: problems.length },
  });
}

function line(fileName: string, { line, column, text }: Placed): string {
  return `${fileName}:${line}:${column}: ${text}`;
}
