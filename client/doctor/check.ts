import { type DescribedError, describeError } from '../errors.ts';

/** One thing that a job needs, and how it is. */
export interface Finding {
  check: string;
  ok: boolean;
  /** The failure's type; null when it is well. */
  type: DescribedError['type'] | null;
  /** One line: what was seen, or what is wrong. */
  details: string;
  /** What to do; empty when it is well. */
  next: string;
}

/** A check says what it saw; what it throws is what is wrong. */
export async function examine(check: string, body: () => Promise<string>): Promise<Finding> {
  try {
    return { check, ok: true, type: null, details: await body(), next: '' };
  } catch (error) {
    return { check, ok: false, ...wrong(error) };
  }
}

/** What is wrong, as a finding tells it. */
export function wrong(error: unknown): Pick<Finding, 'type' | 'details' | 'next'> {
  const { message, next, type } = describeError(error);
  return { type, details: message, next };
}
