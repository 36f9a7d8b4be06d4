import { durationSeconds } from './duration.ts';
import type { Policy } from './policy.ts';
import type { SimulatedSource, SimulationInput } from './simulate.ts';
import { ladderOf } from './tiers.ts';

/** What a policy does not say of a source: measured from its points, or guessed. */
export type Measured = Pick<SimulatedSource, 'fullBytes' | 'changePerDay' | 'growthPerYear' | 'restores'>;

/** What would be simulated for a policy. Sources of which nothing is known are left out. */
export function simulationInput(
  policy: Policy,
  measured: ReadonlyMap<string, Measured>,
  { from, years }: Pick<SimulationInput, 'from' | 'years'>,
): SimulationInput {
  return {
    from,
    years,
    retention: policy.retention,
    copies: policy.copies.map((copy) => ({
      name: copy.name,
      ladder: ladderOf(policy.tiers, copy),
      pruneAfterMs: copy.pruneAfter === undefined ? null : durationSeconds(copy.pruneAfter) * 1000,
    })),
    sources: policy.sources.flatMap(({ name, kind, calendar }) => {
      const known = measured.get(name);
      // A logical dump has no differences to store.
      const alwaysFull = kind === 'postgres-logical';
      return known ? [{ name, calendar: calendar ?? policy.calendar, alwaysFull, ...known }] : [];
    }),
  };
}
