import type { RepairPart } from '../../policies/repair.ts';
import type { Store } from '../stores/index.ts';
import type { Part } from './part.ts';
import { pointPart } from './point-part.ts';
import { walPart } from './wal-part.ts';
import { wayOutPart } from './way-out-part.ts';

/**
 * Looks up what the part must be. Throws PointUnknown when no store has the description of a point, Corrupt when two
 * describe it differently.
 */
export async function openPart(part: RepairPart, stores: Store[], trusted: string[]): Promise<Part> {
  switch (part.kind) {
    case 'point':
      return pointPart(stores, { ...part, trusted });
    case 'wal':
      return walPart(stores, { ...part, trusted });
    case 'way-out':
      return wayOutPart();
  }
}
