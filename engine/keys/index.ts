/** Wrapped keys of points and of WAL: wrapped anew for other recipients, and those that are former taken away. */
export { rekeyPoint } from './rekey-point.ts';
export { recipientsOfWal, rekeyWal, type WalInCopies, walInCopies } from './rekey-wal.ts';
export { type RemovedKeys, removeFormerKeys, removeFormerWalKeys } from './remove-keys.ts';
