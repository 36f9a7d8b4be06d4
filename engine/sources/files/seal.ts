import { setTimeout } from 'node:timers/promises';
import { Failure } from '../../../policies/failure.ts';
import type { FilesSource } from '../../../policies/policy.ts';
import { type ArtifactWriter, type Block, type Entry, frameBytesMax } from '../../artifact/index.ts';
import type { SealOptions, SealResult } from '../source.ts';
import { type Changes, changesSince } from './changes.ts';
import { yieldToLoop } from './loop.ts';
import { blockBytes, framesAlone, newFrame, newPending, type Pending, settle } from './members.ts';
import { latin1 } from './raw-path.ts';
import { endOfArchive, paddingOf, tarHeader } from './tar.ts';
import { cannotRead } from './walk.ts';
import { openWalker, type Walker } from './walker.ts';

/** Larger files are passed on block by block as they are read; smaller ones only once they are known to be whole. */
const heldBytesMax = 1024 * 1024 * 1024;
const attemptsMax = 3;
const retryDelayMs = 100;
/** Only what changed within this time is waited for. */
const busyMs = 1000;
const warningsMax = 100;
/** Blocks of larger files that need not be read are passed on as they come; those of smaller ones are held. */
const unreadHeldBytesMax = 64 * 1024 * 1024;
/** Entries that wait: without a limit, unchanged ones would gather behind a frame that does not fill. */
const queueMax = 4096;

type TreePolicy = Pick<FilesSource, 'path'> &
  Partial<Pick<FilesSource, 'include' | 'exclude' | 'oneFileSystem' | 'onUnstable' | 'onUnreadable'>>;

/**
 * Seals a tree as a pax tar: headers, contents and padding packed into frames; a file that fits goes into one frame
 * with its neighbours, a larger one is cut into blocks. A file that changed while it was read is read again,
 * as a further member (of members of one name, tar takes the last); one of more than 1 GiB, or one that changes every
 * time, stays as it is and is marked. What vanished is left out of the manifest.
 *
 * Compared with a base, no tar but only the blocks that have changed are stored: files that nobody touched are not read,
 * of others each block is compared by its hash.
 */
export async function sealTree(policy: TreePolicy, writer: ArtifactWriter, options: SealOptions): Promise<SealResult> {
  const changes = options.base ? changesSince(options.base) : null;
  const warnings = createWarnings();
  try {
    const walker = openWalker({ ...policy, root: policy.path, warn: warnings.add }, options.signal);
    try {
      return await sealSince({ changes, walker, warnings }, policy, writer, options);
    } finally {
      walker.close();
    }
  } finally {
    await changes?.close();
  }
}

interface Seeing {
  /** What has changed since the base; null for a full point. */
  changes: Changes | null;
  walker: Walker;
  warnings: ReturnType<typeof createWarnings>;
}

/** The first ones, and how many more there were. */
function createWarnings() {
  const lines: string[] = [];
  let more = 0;
  return {
    add: (line: string): void => {
      if (lines.length < warningsMax) lines.push(line);
      else more++;
    },
    all: (): string[] => (more > 0 ? [...lines, `… and ${more} warnings more`] : lines),
  };
}

async function sealSince(
  { changes, walker, warnings }: Seeing,
  policy: TreePolicy,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<SealResult> {
  const capturedAt = new Date().toISOString();
  const warn = warnings.add;
  const totals = { content: 0, source: 0, entries: 0, unstable: 0 };
  const queue: Pending[] = [];
  const inFlight: Promise<void>[] = [];
  /**
   * Files with several names that were read again (their own path) or left out (null): their other names, which come
   * later, follow. By path.
   */
  const firstNames = new Map<string, Uint8Array | null>();
  const headerOf = (entry: Entry) => (changes ? Buffer.alloc(0) : tarHeader(entry));
  const gapAfter = (entry: Entry) => (changes ? 0 : paddingOf(entry.size));
  let frame = newFrame();
  // What comes from threads comes without a turn of the event loop between, as long as there is more.
  const breathe = yieldToLoop();

  for await (const found of walker.found()) {
    options.signal.throwIfAborted();
    await breathe();
    const pending = newPending(found);
    const before = (await changes?.before(found.entry)) ?? null;
    if (before?.isUntouched) {
      await sealUnread(pending, before.blocks());
    } else if (found.entry.size > heldBytesMax) {
      await drain();
      await sealHuge(pending, before?.blocks());
    } else {
      for await (const block of before?.blocks() ?? []) pending.known.push(block);
      // Held open while it is being added: its first blocks may come back before its last ones are sent.
      pending.open++;
      queue.push(pending);
      await add(pending);
      pending.open--;
      await room();
      await emit();
    }
    if (queue.length > queueMax) await drain();
  }
  await drain();
  if (!changes) addBytes(endOfArchive(totals.content));
  await drain();
  return {
    capturedAt,
    facts: { path: policy.path },
    warnings: warnings.all(),
    content: {
      format: changes ? 'blocks' : 'pax-tar',
      bytes: totals.content,
      sourceBytes: totals.source,
      entries: totals.entries,
      unstable: totals.unstable,
    },
  };

  /** Adds header, content and padding to the frame; sends frames as they fill. */
  async function add(pending: Pending): Promise<void> {
    const { entry, file } = pending.found;
    addBytes(headerOf(entry));
    if (entry.type !== 'file' || entry.size === 0) return;
    // A file that fits a frame of its own is not torn apart over two.
    if (entry.size <= blockBytes && frame.bytes + entry.size > frameBytesMax) await flush();
    for (let offset = 0; offset < entry.size; offset += blockBytes) {
      const bytes = Math.min(blockBytes, entry.size - offset);
      if (frame.bytes + bytes > frameBytesMax) await flush();
      pending.open++;
      const known = pending.known[offset / blockBytes];
      frame.owners.push({ piece: frame.pieces.length, pending, known });
      frame.pieces.push({
        kind: 'file',
        path: file,
        offset,
        bytes,
        expect: entry,
        ...(known && { known: known.sha256 }),
      });
      frame.bytes += bytes;
    }
    addBytes(Buffer.alloc(gapAfter(entry)));
  }

  /** Headers and padding; they may be cut anywhere, for only tar readers care for them. */
  function addBytes(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (frame.bytes === frameBytesMax) send();
      const part = rest.subarray(0, frameBytesMax - frame.bytes);
      frame.pieces.push({ kind: 'bytes', bytes: part, hash: false });
      frame.bytes += part.length;
      rest = rest.subarray(part.length);
    }
  }

  function send(): void {
    const { pieces, owners, bytes } = frame;
    frame = newFrame();
    if (bytes === 0) return;
    totals.content += bytes;
    const sent = writer.frame(pieces).then((result) => {
      for (const { piece, pending, known } of owners) settle(pending, result, piece, known);
    });
    // Awaited in its turn; until then a failure must not count as unhandled.
    sent.catch(() => {});
    inFlight.push(sent);
  }

  /** Sends what is packed, then waits until one frame more may be under way. */
  async function flush(): Promise<void> {
    send();
    await room();
  }

  async function room(): Promise<void> {
    while (inFlight.length >= writer.maxInFlight) await inFlight.shift();
  }

  /** Sends what is packed, and waits for all that is under way. */
  async function settled(): Promise<void> {
    send();
    while (inFlight.length > 0) await inFlight.shift();
  }

  async function drain(): Promise<void> {
    await settled();
    await emit();
  }

  /**
   * Passes on the entries at the head of the queue that are complete, in order. Called between members only, for what
   * is read again becomes a member of its own.
   */
  async function emit(): Promise<void> {
    for (let head = queue[0]; head && head.open === 0; head = queue[0]) {
      queue.shift();
      await breathe();
      await pass(head);
    }
  }

  async function pass(first: Pending): Promise<void> {
    let pending = await follow(first);
    for (let attempt = 1; pending.state === 'changed' && attempt < attemptsMax; attempt++) {
      await calm(pending.found.entry, attempt);
      pending = await readAgain(pending);
    }
    const { entry, file, linked } = pending.found;
    const name = file.toString();
    const leftOut = pending.state === 'vanished' || pending.state === 'unreadable';
    if (linked && (leftOut || pending !== first)) {
      const origin = first.found.entry.link ?? first.found.entry.path;
      firstNames.set(latin1(origin), leftOut ? null : (entry.link ?? entry.path));
    }
    if (pending.state === 'vanished') {
      warn(`left out ${name}, which vanished while it was read`);
      return;
    }
    if (pending.state === 'unreadable') {
      if (policy.onUnreadable !== 'warn') throw cannotRead(name, pending.errno);
      warn(`left out ${name}, which cannot be read (${pending.errno})`);
      return;
    }
    if (pending.state === 'changed') noteUnstable(name);
    await writer.entry(pending.state === 'changed' ? { ...entry, unstable: true } : entry);
    for (const block of pending.blocks) await writer.block(block);
    count(entry);
  }

  /** A further name of a file: when its first name was read again or left out, so is this one, or it takes its place. */
  async function follow(pending: Pending): Promise<Pending> {
    const { entry, file, linked } = pending.found;
    if (entry.type !== 'hardlink' || !entry.link) return pending;
    const link = firstNames.get(latin1(entry.link));
    if (link === undefined) return pending;
    if (link === null) return readAgain(pending);
    const again = newPending({ entry: { ...entry, link }, file, linked });
    await settled();
    await sendAlone(again, again.known, async () => {});
    return again;
  }

  /** Looks at a file anew and appends it as a further member. */
  async function readAgain({ found, known }: Pending): Promise<Pending> {
    const again = await walker.look(found);
    if (!again) return { ...newPending(found), state: 'vanished' };
    const pending = { ...newPending(again), known };
    await settled();
    await sendAlone(pending, known, async () => {});
    return pending;
  }

  /** Gives a writer that is at it right now a moment to finish. */
  async function calm(entry: Entry, attempt: number): Promise<void> {
    if (Date.now() - Number(BigInt(entry.ctimeNs) / 1_000_000n) > busyMs && attempt === 1) return;
    await setTimeout(retryDelayMs * attempt, undefined, { signal: options.signal });
  }

  /** One member in frames of its own. */
  async function sendAlone(
    pending: Pending,
    known: AsyncIterable<Block> | Block[],
    settled: () => Promise<void>,
  ): Promise<void> {
    const { entry } = pending.found;
    const sent: Promise<void>[] = [];
    for await (const { pieces, blocks } of framesAlone(pending.found, headerOf(entry), gapAfter(entry), known)) {
      options.signal.throwIfAborted();
      totals.content += pieces.reduce((sum, p) => sum + (p.kind === 'bytes' ? p.bytes.length : p.bytes), 0);
      pending.open += pieces.filter((p) => p.kind === 'file').length;
      sent.push(
        writer.frame(pieces).then((result) => {
          for (const [i, p] of pieces.entries()) if (p.kind === 'file') settle(pending, result, i, blocks[i]);
          return settled();
        }),
      );
      if (sent.length >= writer.maxInFlight) await sent.shift();
    }
    await Promise.all(sent);
  }

  /** A file too large to hold its blocks back: the entry goes first, the blocks as they come, the mark at the end. */
  async function sealHuge(pending: Pending, known: AsyncIterable<Block> | Block[] = []): Promise<void> {
    const { entry, file } = pending.found;
    // Known now, it can be left out; once its entry is written it cannot.
    const errno = await walker.openError(pending.found);
    if (errno) {
      pending.state = errno === 'ENOENT' ? 'vanished' : 'unreadable';
      pending.errno = errno;
      return pass(pending);
    }
    await writer.entry(entry);
    await sendAlone(pending, known, async () => {
      const blocks = pending.blocks;
      pending.blocks = [];
      await Promise.all(blocks.map((b) => writer.block(b)));
    });
    if (pending.state === 'unreadable' || pending.state === 'vanished')
      throw cannotRead(file.toString(), pending.errno || 'ENOENT');
    if (pending.state === 'changed') {
      noteUnstable(file.toString());
      await writer.unstable();
    }
    count(entry);
  }

  /** A file that nobody touched since the base: its blocks lie where they lay. */
  async function sealUnread(pending: Pending, blocks: AsyncIterable<Block>): Promise<void> {
    const { entry } = pending.found;
    if (entry.size <= unreadHeldBytesMax) {
      for await (const block of blocks) pending.blocks.push(block);
      queue.push(pending);
      return emit();
    }
    await drain();
    await writer.entry(entry);
    for await (const block of blocks) await writer.block(block);
    count(entry);
  }

  function noteUnstable(name: string): void {
    if (policy.onUnstable === 'fail') {
      throw new Failure('SourceChanged', `${name} changed every time it was read.`, {
        next: 'Quiet its writer with a pre hook, back up a snapshot, exclude it, or set onUnstable: warn for this source.',
      });
    }
    totals.unstable++;
    warn(`${name} changed every time it was read; its content is from several moments`);
  }

  function count(entry: Entry): void {
    totals.entries++;
    totals.source += entry.size;
    options.onProgress({ bytesDone: totals.source, bytesTotal: 0, entriesDone: totals.entries });
  }
}
