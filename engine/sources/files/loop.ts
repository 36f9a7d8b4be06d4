import { setImmediate } from 'node:timers/promises';

const sliceMs = 15;

/** For long runs of synchronous calls: await it between them, and every 15 ms the event loop gets its turn. */
export function yieldToLoop(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < sliceMs) return undefined;
    return setImmediate().then(() => {
      since = performance.now();
    });
  };
}
