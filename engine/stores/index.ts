export { createDirectoryStore } from './directory/store.ts';
export { mergeLists } from './merge.ts';
export { openStore } from './open.ts';
export { bytesSource, fileSource, type GrowingFile } from './put-source.ts';
export { type ReadBack, readBytes, type VerifyObjectOptions, verifyObject } from './read.ts';
export { createS3Store } from './s3/store.ts';
export type {
  ListedObject,
  PendingPut,
  PutOptions,
  PutSource,
  Store,
  StoreCapabilities,
  StoredObject,
} from './store.ts';
