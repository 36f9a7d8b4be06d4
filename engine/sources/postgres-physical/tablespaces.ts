import path from 'node:path';
import { Failure } from '../../../policies/failure.ts';
import type { SourceFacts } from '../../../policies/recovery-point.ts';

/** A tablespace that lies outside of the data directory; what it holds is in the point below `pg_tblspc/OID`. */
export interface OutsideTablespace {
  oid: string;
  /** Where it lay on the source. */
  location: string;
}

/** Below the data directory, where tablespaces go unless they are given another place. */
export const tablespacesFolder = 'tablespaces';

export function tablespacesOf(facts: SourceFacts): OutsideTablespace[] {
  return typeof facts.tablespaces === 'string' ? JSON.parse(facts.tablespaces) : [];
}

/**
 * Where each tablespace is to be restored: its path within the tree, and the folder that a symbolic link there leads
 * to. Throws UsageInvalid for places that are none, and for tablespaces that the point does not have.
 *
 * @param places by where they lay on the source
 */
export function placesOf(
  tablespaces: OutsideTablespace[],
  into: string,
  places: Record<string, string> = {},
): Map<string, string> {
  const known = tablespaces.map((t) => t.location);
  for (const [from, to] of Object.entries(places)) {
    if (!known.includes(from)) {
      throw usage(
        `The point has no tablespace that lay in ${from}.`,
        known.length === 0 ? 'Leave it out: it has none at all.' : `It has: ${known.join(', ')}.`,
      );
    }
    if (!path.isAbsolute(to)) throw usage(`${to} is no absolute path.`, 'Write OLD=NEW with absolute paths.');
  }
  const result = new Map(
    tablespaces.map(({ oid, location }) => [
      `pg_tblspc/${oid}`,
      path.resolve(places[location] ?? path.join(into, tablespacesFolder, oid)),
    ]),
  );
  const targets = [into, ...result.values()];
  const twice = targets.find((t, i) => targets.indexOf(t) !== i);
  if (twice) throw usage(`Two things are to be restored into ${twice}.`, 'Give every tablespace a folder of its own.');
  return result;
}

function usage(message: string, next: string): Failure {
  return new Failure('UsageInvalid', message, { next });
}
