import { setFlagsFromString } from 'node:v8';

/**
 * Flags for every worker's `node`: without it, V8 lets the space for young objects grow to 3 × 64 MiB when many
 * entries and blocks go by. So little costs no time that could be measured, beside 4 MiB, which take some 20 MiB more.
 */
export const nodeFlags = ['--max-semi-space-size=1'];

/**
 * For every worker's environment: by default, the C library keeps what was freed in up to eight pools for each core, and
 * threads come and go here. And Node.js has four threads for all calls to file systems and to look up addresses; of a
 * mount that has gone away, each of these calls takes one (engine/stores/directory/call-watch.ts).
 */
export const nodeEnvironment = { MALLOC_ARENA_MAX: '2', UV_THREADPOOL_SIZE: '16' };

/**
 * Buffers that come and go count to V8 as a heap that grows, and it marks all of it again each time they make up half as
 * much as the heap: some 60 times in restoring 2.4 GB. Twice as much more may come first.
 */
export function letHeapGrow(): void {
  setFlagsFromString('--heap-growing-percent=200');
}
