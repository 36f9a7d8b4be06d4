export type {
  Catalog,
  CopyRecord,
  IncidentInput,
  IncidentRecord,
  JobRecord,
  PointRecord,
} from './catalog.ts';
export { openCatalog } from './postgres-catalog.ts';
export {
  type RebuildReport,
  rebuildCatalog,
  verifyCatalog,
} from './rebuild.ts';
