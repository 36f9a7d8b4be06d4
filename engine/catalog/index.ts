export type {
  Catalog,
  JobRecord,
  PointRecord,
} from './catalog.ts';
export { openCatalog } from './postgres-catalog.ts';
export { publishedIn } from './published.ts';
export { rebuildCatalog, verifyCatalog } from './rebuild.ts';
export type { Reading } from './retention-records.ts';
export { pointsInStores } from './source-points.ts';
