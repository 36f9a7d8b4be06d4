import { Failure, type FailureType } from '../policies/failure.ts';
import type { CopyPolicy, Policy, SourcePolicy } from '../policies/policy.ts';
import { nearest } from '../policies/spelling.ts';

/** The source of that name. Throws SourceUnknown, with what was probably meant. */
export function sourceNamed(policy: Policy, name: string): SourcePolicy {
  const found = policy.sources.find((s) => s.name === name);
  if (found) return found;
  throw unknown(
    'SourceUnknown',
    'source',
    name,
    policy.sources.map((s) => s.name),
    'the policy file',
  );
}

/** The copy of that name. Throws CopyUnknown, with what was probably meant. */
export function copyPolicy(policy: Policy, name: string): CopyPolicy {
  const found = policy.copies.find((c) => c.name === name);
  if (found) return found;
  throw unknown(
    'CopyUnknown',
    'copy',
    name,
    policy.copies.map((c) => c.name),
    'the policy file',
  );
}

/** Throws PointUnknown, with the id that was probably meant. */
export function unknownPoint(id: string, known: string[]): Failure {
  return unknown('PointUnknown', 'recovery point', id, known, 'the catalog');
}

function unknown(type: FailureType, what: string, name: string, known: string[], where: string): Failure {
  const hint = nearest(name, known);
  const few = known.slice(0, 8);
  const rest = known.length > few.length ? ` and ${known.length - few.length} more` : '';
  return new Failure(type, `There is no ${what} named "${name}" in ${where}.`, {
    next: hint
      ? `Did you mean "${hint}"?`
      : few.length > 0
        ? `There is: ${few.join(', ')}${rest}.`
        : `There is no ${what} at all yet.`,
    details: { name },
  });
}
