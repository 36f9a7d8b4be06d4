import { getPriority, setPriority } from 'node:os';
import koffi from 'koffi';

const gettid = koffi.load('libc.so.6').func('int gettid()');

/**
 * Lets all others go first: the thread that calls it gets the processor when nothing else of this process, and of its
 * session, wants it. Linux counts niceness by thread. It cannot be taken back without privileges.
 */
export function standBack(): void {
  const thread = gettid();
  // Whoever stands further back already stays there.
  if (getPriority(thread) < niceness) setPriority(thread, niceness);
}

/** In the middle: what remains is a third of an equal share, which still is enough where others never rest. */
export const niceness = 5;
