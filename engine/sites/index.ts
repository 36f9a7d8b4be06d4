export { freePort } from './ports.ts';
export {
  chooseBinaries,
  findPostgresBinaries,
  installHint,
  listPostgresBinaries,
  type PostgresBinaries,
} from './postgres-binaries.ts';
export { createPostgresInstance, reapInstances } from './postgres-instance.ts';
export { runSingleUser } from './postgres-single.ts';
export { assertWithin } from './restore-folders.ts';
export { tied } from './tied.ts';
export type { PostgresInstance } from './types.ts';
export { type UnprivilegedUser, unprivilegedUser } from './unprivileged.ts';
