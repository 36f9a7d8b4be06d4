import type { Catalog } from '../engine/catalog/index.ts';
import type { Readers } from '../policies/source-expiry.ts';
import type { WatchDependencies } from './watch-holders.ts';

export interface ReadingsDependencies extends WatchDependencies {
  catalog: Pick<Catalog, 'retention'>;
}

/**
 * Which points of a source are being restored, and by what. Of restores that have ended, however they did, the catalog
 * forgets; nobody needs to have said so at their end.
 */
export async function readersOf({ catalog, openRun }: ReadingsDependencies, source: string): Promise<Readers> {
  const readers = new Map<string, string[]>();
  for (const { pointId, workflowId, runId } of await catalog.retention.readings(source)) {
    if ((await openRun(workflowId, runId)) === null) await catalog.retention.endReadings({ workflowId, runId });
    else readers.set(pointId, [...(readers.get(pointId) ?? []), workflowId]);
  }
  return readers;
}
