import { scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import { error, type Finding } from './finding.ts';
import type { Policy } from './policy.ts';
import { nearest } from './spelling.ts';
import { eligibleAfter, ladderOf } from './tiers.ts';

/** Tiers that are named but not there, ladders that lead nowhere, and thawing that takes longer than recovery may. */
export function checkTiers(policy: Policy): Finding[] {
  return [...checkNames(policy), ...checkLadders(policy), ...checkThaw(policy)];
}

function checkNames({ tiers, copies }: Policy): Finding[] {
  const names = tiers.map((t) => t.name);
  const twice = names.flatMap((name, i) =>
    names.indexOf(name) === i
      ? []
      : [error(['tiers', i, 'name'], `tiers[${names.indexOf(name)}] is named "${name}" already`)],
  );
  const unknown = copies.flatMap((copy, i) =>
    [
      { name: copy.tier, path: ['copies', i, 'tier'] },
      ...copy.moves.map(({ to }, j) => ({ name: to, path: ['copies', i, 'moves', j, 'to'] })),
    ].flatMap(({ name, path }) => {
      if (names.includes(name)) return [];
      const meant = nearest(name, names);
      const hint = meant === undefined ? `there are ${names.join(', ')}` : `did you mean "${meant}"?`;
      return [error(path, `there is no such tier; ${hint}`)];
    }),
  );
  return [...twice, ...unknown];
}

/** A step that is due no later than the one before it is never stood on, or stood on at once. */
function checkLadders({ tiers, copies }: Policy): Finding[] {
  return copies.flatMap((copy, i) => {
    const steps = copy.moves.map(({ to }) => tiers.find((t) => t.name === to));
    let last = 0;
    return steps.flatMap((tier, j) => {
      if (!tier) return [];
      const after = tier.after === undefined ? 0 : durationSeconds(tier.after);
      const isLater = after > last;
      last = Math.max(last, after);
      const why = `"${tier.name}" is to be reached ${tier.after === undefined ? 'at once' : `after ${tier.after}`}`;
      return isLater ? [] : [error(['copies', i, 'moves', j], `${why}, no later than what comes before it`)];
    });
  });
}

/** A tier from which the RTO cannot be met is refused now, not found out on the day (design §6a). */
function checkThaw({ tiers, copies, calendar, sources }: Policy): Finding[] {
  const lasting = copies.some((c) => c.pruneAfter === undefined)
    ? copies.filter((c) => c.pruneAfter === undefined)
    : copies;
  return sources.flatMap((source, i) => {
    const own = source.calendar ?? calendar;
    for (const name of scheduledClasses.filter((n) => own[n].keep > 0)) {
      const waits = lasting.map((copy) => {
        const ladder = ladderOf(tiers, copy);
        const end = ladder.findLast((_, step) => eligibleAfter(ladder, step, [name]) !== null);
        return {
          tier: end?.name ?? '',
          thaw: end?.thaw,
          seconds: end?.thaw === undefined ? 0 : durationSeconds(end.thaw),
        };
      });
      const quickest = waits.toSorted((a, b) => a.seconds - b.seconds)[0];
      if (!quickest?.thaw || quickest.seconds <= durationSeconds(source.rto)) continue;
      const text = `cannot be met from old ${name} points: in every copy that keeps them they end in a tier like "${quickest.tier}", which takes ${quickest.thaw} to thaw`;
      return [error(['sources', i, 'rto'], text)];
    }
    return [];
  });
}
