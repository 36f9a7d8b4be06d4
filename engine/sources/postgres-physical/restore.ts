import { chownSync } from 'node:fs';
import path from 'node:path';
import { Failure } from '../../../policies/failure.ts';
import type { PointReader } from '../../artifact/index.ts';
import { unprivilegedUser } from '../../sites/index.ts';
import { type Placement, restoreTree } from '../files/restore.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { placesOf, tablespacesFolder, tablespacesOf } from './tablespaces.ts';

/**
 * Restores a cluster into a folder that becomes its data directory; tablespaces below that, or where the options say.
 * What a server of the same major version needs is all there: it can be started, and recovers by the WAL that came
 * along. As root, everything becomes the property of the user that PostgreSQL runs as here.
 * Throws TargetNotEmpty, TargetUnusable, UsageInvalid, Corrupt.
 *
 * @param after.complete what is still to be done with the files, as of restoreTree
 * @param after.isThrowaway a server on it will not care whether it is on the disk; others sync it all when they start,
 * which is begun while more is restored
 */
export async function restoreCluster(
  point: PointReader,
  options: RestoreOptions,
  { complete, isThrowaway = false }: { complete?: Placement['complete']; isThrowaway?: boolean } = {},
): Promise<RestoreResult> {
  if (options.paths !== undefined && options.paths.length > 0) {
    throw new Failure('UsageInvalid', 'A cluster is restored whole: of its files alone no server could be started.', {
      next: 'Leave the paths out.',
    });
  }
  const into = path.resolve(options.into);
  const tablespaces = tablespacesOf(point.backup.facts);
  const elsewhere = placesOf(tablespaces, into, options.tablespaces);
  const owner = await unprivilegedUser();
  const below = [...elsewhere.values()].some((place) => path.dirname(place) === path.join(into, tablespacesFolder));
  const moved = tablespaces.map(({ oid, location }) => {
    return `the tablespace that lay in ${location} now lies in ${elsewhere.get(`pg_tblspc/${oid}`)}`;
  });
  return restoreTree(point, options, {
    elsewhere,
    owner,
    writeBehind: !isThrowaway,
    complete: async (written) => {
      if (owner && below) chownSync(path.join(into, tablespacesFolder), owner.uid, owner.gid);
      const restored = { ...written, warnings: [...written.warnings, ...moved] };
      return complete ? complete(restored) : restored;
    },
  });
}
