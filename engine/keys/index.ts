/** Wrapped keys of points: wrapped anew for other recipients, and those that are former taken away. */
export { rekeyPoint } from './rekey-point.ts';
export { type RemovedKeys, removeFormerKeys } from './remove-keys.ts';
