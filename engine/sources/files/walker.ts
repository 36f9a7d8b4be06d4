import { openSideThread, type SideThread } from '../../side-thread.ts';
import { type PostedFound, unposted } from './posted.ts';
import { latin1 } from './raw-path.ts';
import type { Found, WalkOptions } from './walk.ts';
import type { WalkCalls } from './walk-thread.ts';

/** Lists a tree by a thread of its own. */
export interface Walker {
  /** As walk() does, some hundred entries ahead. */
  found(): AsyncGenerator<Found>;
  /** Looks at a file once more; null when it is gone, or is something else by now. */
  look(found: Found): Promise<Found | null>;
  /** The code of the error that opening a file for reading ends with. */
  openError(found: Found): Promise<string | undefined>;
  /** The thread ends once it can. */
  close(): void;
}

export interface WalkerOptions {
  /** For tests. */
  script?: URL;
  /** Where it is waited for less than usual. */
  silentMaxMs?: number;
}

const threadScript = new URL('./walk-thread.ts', import.meta.url);
/** Enough for some millions of names in one folder; a usual tree takes up next to nothing of it. */
const memory = { old: 512, young: 4 };

/**
 * Throws SourceUnreachable where the tree does not answer. What is asked throws it as well, once nothing has come for
 * minutes, and the signal's reason once that is aborted, whatever the file system does.
 */
export function openWalker(
  { warn, ...options }: WalkOptions,
  signal: AbortSignal,
  { script = threadScript, silentMaxMs }: WalkerOptions = {},
): Walker {
  const root = Buffer.from(options.root);
  const thread: SideThread<WalkCalls> = openSideThread({ script, folder: options.root, memory, signal, silentMaxMs });
  const more = () => {
    const batch = thread.call('more');
    // Whoever waits for it is told; nobody may.
    batch.catch(() => {});
    return batch;
  };
  const own = (found: PostedFound | null) => found && unposted(found, root);

  return {
    async *found() {
      await thread.call('begin', options);
      for (let next = more(); ; ) {
        const { found, warnings, isLast } = await next;
        if (!isLast) next = more();
        for (const line of warnings) warn(line);
        for (const one of found) yield unposted(one, root);
        if (isLast) return;
      }
    },
    look: async ({ entry }) => own(await thread.call('look', latin1(entry.path))),
    openError: ({ entry }) => thread.call('openError', latin1(entry.path)),
    close: () => thread.close(),
  };
}
