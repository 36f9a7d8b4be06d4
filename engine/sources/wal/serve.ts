import { access, chown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseSegmentName, segmentName } from '../../../policies/wal.ts';
import type { WalFetcher } from './fetch.ts';

export interface ServeOptions {
  fetcher: WalFetcher;
  /** Is made; on the disk that is restored to. The server's user must be able to write there. */
  dir: string;
  /** Whose it becomes, when the server runs as somebody else. */
  owner: { uid: number; gid: number } | null;
  segmentBytes: number;
  /** A segment that the data directory has already, and as much of it: the server takes that one. */
  hasBetter(name: string, covered: number): Promise<boolean>;
  signal: AbortSignal;
}

export interface WalServing {
  /** restore_command for the server. It holds no secret and knows no store: it asks this process by files. */
  command: string;
  /** Rejects when something failed, which the server is never told: it would take it for the end of the WAL. */
  failed: Promise<never>;
  close(): Promise<void>;
}

const pollMs = 10;
/** Segments that are brought before they are asked for. */
const ahead = 4;

/**
 * Answers a recovering server's restore_command. It asks by making `NAME.PID.want`; the answer is `NAME.PID.done`, with
 * the file beside it, or `NAME.PID.none`. Segments that follow are brought ahead, so that it hardly ever waits.
 */
export async function serveWal(options: ServeOptions): Promise<WalServing> {
  const { dir, fetcher, owner, segmentBytes } = options;
  const script = path.join(dir, 'fetch.sh');
  await mkdir(dir, { mode: 0o700 });
  await writeFile(script, fetchScript, { mode: 0o755 });
  if (owner) for (const file of [dir, script]) await chown(file, owner.uid, owner.gid);
  const controller = new AbortController();
  const signal = AbortSignal.any([options.signal, controller.signal]);
  const bringing = new Map<string, Promise<boolean>>();
  const failure = Promise.withResolvers<never>();
  // Without its script the command gives up, and the server with it: while it waits for a command, it hears no signal.
  const giveUp = () => rm(script, { force: true }).catch(() => {});
  failure.promise.catch(giveUp);
  options.signal.addEventListener('abort', giveUp, { once: true });

  const place = async (name: string, bytes: Uint8Array) => {
    const file = path.join(dir, `${name}.new`);
    await writeFile(file, bytes, { mode: 0o600 });
    if (owner) await chown(file, owner.uid, owner.gid);
    await rename(file, path.join(dir, name));
  };
  const bring = (name: string): Promise<boolean> => {
    const known = bringing.get(name);
    if (known !== undefined) return known;
    const brought = (async () => {
      if (name.endsWith('.history')) {
        const bytes = await fetcher.history(name);
        if (bytes) await place(name, bytes);
        return bytes !== null;
      }
      const found = await fetcher.segment(name);
      if (!found || (await options.hasBetter(name, found.covered))) return false;
      await place(name, found.bytes);
      return true;
    })();
    brought.catch(failure.reject);
    bringing.set(name, brought);
    return brought;
  };
  const isHere = (name: string) =>
    access(path.join(dir, name)).then(
      () => true,
      () => false,
    );
  /** @param asked NAME.PID */
  const answer = async (asked: string) => {
    const name = asked.slice(0, asked.lastIndexOf('.'));
    let found = await bring(name);
    bringing.delete(name);
    // It was taken before, and is asked for once more.
    if (found && !(await isHere(name))) {
      found = await bring(name);
      bringing.delete(name);
    }
    await writeFile(path.join(dir, `${asked}.${found ? 'done' : 'none'}`), '', { mode: 0o644 });
    const segment = parseSegmentName(name, segmentBytes);
    if (!segment || !found) return;
    for (let i = 1; i <= ahead; i++) {
      const next = segmentName(segment.timeline, segment.start + BigInt(i * segmentBytes), segmentBytes);
      void bring(next).catch(() => {});
    }
  };
  const loop = async () => {
    while (!signal.aborted) {
      for (const file of await readdir(dir)) {
        if (!file.endsWith('.want')) continue;
        await rm(path.join(dir, file));
        await answer(file.slice(0, -'.want'.length));
      }
      await setTimeout(pollMs, undefined, { signal }).catch(() => {});
    }
  };
  const looping = loop().catch(failure.reject);
  return {
    command: `sh ${quoted(script)} %f "%p"`,
    failed: failure.promise,
    async close() {
      options.signal.removeEventListener('abort', giveUp);
      controller.abort();
      await looping;
      await Promise.allSettled(bringing.values());
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Waits as long as it takes, for no answer would be taken for the end of the WAL. */
const fetchScript = `#!/bin/sh
# restore_command of a recovery: asks the process that restores, by files, and takes its answer.
cd "$(dirname "$0")" || exit 255
target=$OLDPWD/$2
asked=$1.$$
: > "$asked.want" || exit 255
while :; do
  if [ -e "$asked.done" ]; then mv "$1" "$target" || exit 255; exit 0; fi
  if [ -e "$asked.none" ]; then exit 1; fi
  if [ ! -e fetch.sh ]; then exit 255; fi
  sleep 0.01
done
`;

/** For a shell, within a setting in which % has a meaning. */
function quoted(file: string): string {
  return `'${file.replaceAll("'", `'\\''`).replaceAll('%', '%%')}'`;
}
