import type { Catalog } from '../engine/catalog/index.ts';

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
