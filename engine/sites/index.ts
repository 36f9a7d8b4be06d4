export { freePort } from './ports.ts';
export { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';
export { createPostgresInstance, reapInstances } from './postgres-instance.ts';
export type { PostgresInstance, PostgresInstanceOptions } from './types.ts';
