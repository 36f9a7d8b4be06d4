import { expect } from '@jest/globals';
import type { StandIns } from './stand-ins.ts';

/** Nothing is left of a job that came to no recovery point. */
export function expectNothingLeft(steps: StandIns): void {
  expect(steps.done).not.toContain('recordPoint');
  expect(steps.attempts('discardStaging')).toBe(1);
  expect(steps.attempts('releaseSlot')).toBe(1);
  expect(steps.done.indexOf('discardStaging')).toBeLessThan(steps.done.indexOf('releaseSlot'));
  expect(steps.end().leftovers).toEqual({ staging: false, copies: [] });
}
