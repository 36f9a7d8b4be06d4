import { isFailure } from '../../policies/failure.ts';
import type { BackupJson } from '../../policies/recovery-point.ts';
import type { Store, VerifyObjectOptions } from '../stores/index.ts';

/** A part of what stores hold together, and what each of its objects must be. */
export interface Part {
  /** What a store should have of it, in the order in which it must be put. */
  keysIn(store: Store): AsyncIterable<string>;
  /** Whether a key names an object of it. */
  owns(key: string): boolean;
  /** Reads an object and compares it with what it must be. Throws what says nothing of the object itself. */
  examine(store: Store, key: string, options?: VerifyObjectOptions): Promise<Examined>;
  /** Length and SHA-256 of an object, where they are known without reading it; null otherwise. */
  facts(key: string): { bytes: number; sha256: string } | null;
  /** What an object is made of, where no copy is needed for it; null otherwise. */
  text(key: string): string | null;
  /** What makes the others count, and is put last; null where each counts by itself. */
  description: { key: string; backup: BackupJson } | null;
}

export type Examined =
  | { state: 'good'; bytes: number; sha256: string }
  | { state: 'damaged' | 'missing'; problem: string };

/** Failures that are about an object; whatever else a store throws is about the store. */
export async function examined(read: () => Promise<{ bytes: number; sha256: string }>): Promise<Examined> {
  try {
    return { state: 'good', ...(await read()) };
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return { state: 'missing', problem: error.message };
    if (isFailure(error, 'ChecksumMismatch', 'Corrupt', 'SignatureInvalid', 'FormatUnsupported')) {
      return { state: 'damaged', problem: error.message };
    }
    throw error;
  }
}
