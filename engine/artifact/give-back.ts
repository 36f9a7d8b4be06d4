import { types } from 'node:util';

/**
 * Gives memory that is done with back at once. Left to the garbage collector, buffers pile up to some 64 MiB before a
 * whole collection is paid for; with gigabytes passing through, that took a sixth of all the time. Only for its sole
 * owner: whatever else looks into it is empty afterwards.
 */
export function giveBack(memory: ArrayBuffer): void {
  memory.transfer(0);
}

/** Node cuts buffers up to half of this from memory that many share; larger ones have their own. */
export const ownMemoryMin = 64 * 1024;

/** Whether the bytes are large, and all that is in their memory: then it can be handed over, or given back. */
export function ownsMemory(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  return types.isArrayBuffer(buffer) && buffer.byteLength === byteLength && byteLength >= ownMemoryMin;
}
