import type { Catalog, Reading } from '../engine/catalog/index.ts';
import { type Readers, readersByPoint } from '../policies/source-expiry.ts';
import type { WatchDependencies } from './watch-holders.ts';

export interface ReadingsDependencies extends WatchDependencies {
  catalog: Pick<Catalog, 'retention'>;
}

/**
 * Which points of a source are being restored, and by what. Of restores that have ended, however they did, the catalog
 * forgets; nobody needs to have said so at their end.
 */
export async function readersOf({ catalog, openRun }: ReadingsDependencies, source: string): Promise<Readers> {
  const underWay: Reading[] = [];
  for (const reading of await catalog.retention.readings(source)) {
    const { workflowId, runId } = reading;
    if ((await openRun(workflowId, runId)) === null) await catalog.retention.endReadings({ workflowId, runId });
    else underWay.push(reading);
  }
  return readersByPoint(underWay);
}
