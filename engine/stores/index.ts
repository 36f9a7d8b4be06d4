export { createDirectoryStore } from './directory.ts';
export { openStore } from './open.ts';
export { bytesSource, fileSource, storeSource } from './put-source.ts';
export { readBytes, verifyObject } from './read.ts';
export { createS3Store } from './s3/store.ts';
export type {
  ListedObject,
  PendingPut,
  PutOptions,
  PutProgress,
  PutSource,
  Store,
  StoreCapabilities,
  StoredObject,
} from './store.ts';
