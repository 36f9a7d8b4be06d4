// `openStore` (open.ts) and the S3 store are asked for by name: their client takes longer to load than all the rest.
export { createDirectoryStore } from './directory/store.ts';
export { mergeLists } from './merge.ts';
export { bytesSource, fileSource, type GrowingFile } from './put-source.ts';
export { headOrNull, type ReadBack, readBytes, type VerifyObjectOptions, verifyObject } from './read.ts';
export type {
  ListedObject,
  PendingPut,
  PutOptions,
  PutSource,
  Store,
  StoreCapabilities,
  StoredObject,
} from './store.ts';
