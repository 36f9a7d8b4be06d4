import type { Catalog } from '../engine/catalog/index.ts';
import type { IncidentEvent } from '../engine/notify/index.ts';

export interface IncidentDependencies {
  catalog: Catalog;
  /** Tells people; resolves to one line per receiver that could not be reached. */
  announce(event: IncidentEvent, signal: AbortSignal): Promise<string[]>;
}

/** Opens or refreshes an incident; people are told of one that is new. */
export async function tellIncident(
  { catalog, announce }: IncidentDependencies,
  incident: Parameters<Catalog['openIncident']>[0],
  signal: AbortSignal,
): Promise<void> {
  const isKnown = (await catalog.incidents({ open: true })).some((i) => i.key === incident.key);
  await catalog.openIncident(incident);
  if (isKnown) return;
  const unreached = await announce({ incident, at: new Date().toISOString() }, signal);
  if (unreached.length === 0) return;
  await catalog.openIncident({
    key: 'notification-failed',
    severity: 'warning',
    source: incident.source,
    pointId: null,
    summary: unreached.join('; '),
    next: 'Mend the receiver named here; "backupctl doctor" checks the settings.',
  });
}

/** Opens or refreshes the incident when things are bad, resolves it when they are good. */
export async function settle(
  catalog: Catalog,
  good: boolean,
  incident: Parameters<Catalog['openIncident']>[0],
): Promise<void> {
  if (good) await resolveIncident(catalog, incident.key);
  else await catalog.openIncident(incident);
}

export async function resolveIncident(catalog: Catalog, key: string): Promise<void> {
  const open = await catalog.incidents({ open: true });
  for (const i of open.filter((i) => i.key === key)) await catalog.resolveIncident(i.id);
}
