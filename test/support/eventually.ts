import { setTimeout } from 'node:timers/promises';

/** Looks again and again until what is expected holds; after half a minute, fails with what it was then. */
export async function eventually(look: () => unknown, timeoutMs = 30_000): Promise<void> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    try {
      await look();
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
    }
    await setTimeout(50);
  }
}
