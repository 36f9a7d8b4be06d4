import { Failure } from '../../policies/failure.ts';

export interface Range {
  offset: number;
  length?: number;
}

/** Refuses what is no range, with UsageInvalid. */
export function assertRange(key: string, range: Range | undefined): void {
  const isCount = (n: number) => Number.isSafeInteger(n) && n >= 0;
  if (range === undefined || (isCount(range.offset) && isCount(range.length ?? 0))) return;
  throw new Failure('UsageInvalid', `${key}: ${JSON.stringify(range)} is no range of bytes.`, {
    next: 'Give whole numbers from 0 up.',
  });
}

/** A range starts past the end of what it is taken from. */
export function beyond(place: string, offset: number): Failure {
  return new Failure('UsageInvalid', `${place} ends before byte ${offset}, which was asked for.`, {
    next: 'Ask for a range within it.',
  });
}
