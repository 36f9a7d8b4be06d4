import { Failure } from '../../policies/failure.ts';

/** Refuses keys that are no plain '/'-separated paths, so that none can leave its store. */
export function assertKey(key: string): void {
  const segments = key.split('/');
  const bad = segments.some((s) => s === '' || s === '.' || s === '..' || s.includes('\0'));
  if (!bad && Buffer.byteLength(key) <= 1024 && !key.startsWith('.')) return;
  throw new Failure('UsageInvalid', `${JSON.stringify(key.slice(0, 200))} is no key of a store.`, {
    next: "Use '/'-separated names without empty, '.' or '..' segments, at most 1,024 bytes.",
  });
}
