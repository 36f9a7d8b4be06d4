import { Failure } from '../../policies/failure.ts';

// Control characters cannot stand in the XML of a listing, nor in a person's terminal.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const unspeakable = /[\u0000-\u001f\u007f\ufffe\uffff]/;

/** True for a plain '/'-separated path that every kind of store can hold, and that cannot leave its store. */
export function isKey(key: string): boolean {
  return (
    key.isWellFormed() &&
    !unspeakable.test(key) &&
    Buffer.byteLength(key) <= 1024 &&
    !key.startsWith('.') &&
    key.split('/').every((s) => s !== '' && s !== '.' && s !== '..' && Buffer.byteLength(s) <= 255)
  );
}

/** Refuses what is no key, with UsageInvalid. */
export function assertKey(key: string): void {
  if (isKey(key)) return;
  throw new Failure('UsageInvalid', `${JSON.stringify(key.slice(0, 200))} is no key of a store.`, {
    next: "Use '/'-separated names of at most 255 bytes, none empty, '.' or '..', at most 1,024 bytes in all.",
  });
}
