import { Failure, isFailure } from '../../../policies/failure.ts';
import { gapsOf, lsnOf, lsnText, mergeRanges, timelinesOf, type WalGap, type WalRange } from '../../../policies/wal.ts';
import { acquireFramePool, openWal, readWalHeader, readWholeWal, type WalReading } from '../../artifact/index.ts';
import { type ContentsOptions, listWal, type StoredRange, walDamage } from './contents.ts';

export interface VerifyWalOptions extends ContentsOptions {
  /**
   * age identity: reads all of it. Without one: names, signatures and lengths, by one small request for each range.
   */
  identity?: string;
  onProgress?(done: number, of: number): void;
}

export interface WalReport {
  ranges: number;
  bytes: number;
  /** What is good, those that touch made one; by timeline. */
  held: WalRange[];
  /** Nothing must be missing between the first and the last position, on every timeline. */
  gaps: WalGap[];
  /** Everything that is wrong, by name; a range that is damaged is a gap as well. At most 100. */
  problems: string[];
}

const problemsMax = 100;
/** Small requests at once: this hides the way to the store. */
const ahead = 8;
const pageBytes = 8192;

/**
 * Whether what a store holds of a source's WAL is whole: no gap, every range signed by a trusted key, of one cluster, as
 * long as it says; with an identity also every byte, and every page at its place.
 */
export async function verifyWal(options: VerifyWalOptions): Promise<WalReport> {
  // Held, so that not every few ranges start their threads anew.
  const threads = acquireFramePool();
  try {
    return await verifyAll(options);
  } finally {
    await threads.release();
  }
}

async function verifyAll(options: VerifyWalOptions): Promise<WalReport> {
  const { identity, onProgress, signal } = options;
  const problems: string[] = [];
  const contents = await listWal({ ...options, onDamage: (problem) => problems.push(problem) });
  problems.push(...contents.strangers.map((key) => `${key} does not belong there`));
  const good: StoredRange[] = [];
  const clusters = new Set<string>();
  const collecting = async (look: () => Promise<void>) => {
    signal?.throwIfAborted();
    try {
      await look();
    } catch (error) {
      if (!isFailure(error, ...walDamage)) throw error;
      problems.push(error.message);
    }
  };
  const check = (range: StoredRange) =>
    collecting(async () => {
      clusters.add(await checkObject({ ...options, key: range.key }, identity, range.bytes));
      good.push(range);
    });
  for (const { key } of contents.histories) {
    await collecting(async () => void clusters.add(await checkObject({ ...options, key }, identity)));
  }
  for (let at = 0; at < contents.ranges.length; at += ahead) {
    await Promise.all(contents.ranges.slice(at, at + ahead).map(check));
    onProgress?.(Math.min(at + ahead, contents.ranges.length), contents.ranges.length);
  }
  if (clusters.size > 1) problems.push(`there is WAL of ${clusters.size} clusters: ${[...clusters].join(', ')}`);
  return {
    ranges: contents.ranges.length,
    bytes: contents.ranges.reduce((sum, r) => sum + r.bytes, 0),
    held: timelinesOf(good).flatMap((timeline) => mergeRanges(good, timeline)),
    gaps: gapsOf(good, contents.histories),
    problems: problems.slice(0, problemsMax),
  };
}

/** Returns the cluster's identifier. */
async function checkObject(reading: WalReading, identity?: string, listedBytes?: number): Promise<string> {
  const { header, lineBytes } = await (identity === undefined ? readWalHeader(reading) : readWholeWal(reading));
  const bytes = lineBytes + header.cipher.bytes;
  if (listedBytes !== undefined && listedBytes !== bytes) {
    throw damaged(reading.key, `it has ${listedBytes} bytes instead of ${bytes}`);
  }
  if (header.kind === 'range' && lsnOf(header.endLsn) - lsnOf(header.startLsn) !== BigInt(header.content.bytes)) {
    throw damaged(reading.key, 'its length is not that of its range');
  }
  if (identity === undefined) return header.systemIdentifier;
  const wal = await openWal(reading, identity);
  const step = 16 * 1024 * 1024;
  for (let at = 0; at < header.content.bytes; at += step) {
    const plain = await wal.read(at, Math.min(step, header.content.bytes - at));
    if (header.kind === 'range') checkPages(reading.key, lsnOf(header.startLsn) + BigInt(at), plain);
  }
  return header.systemIdentifier;
}

/** Every page says at which position it stands; pages of zeros follow a switch of segments. */
function checkPages(key: string, start: bigint, bytes: Buffer): void {
  const first = Number((BigInt(pageBytes) - (start % BigInt(pageBytes))) % BigInt(pageBytes));
  for (let at = first; at + 16 <= bytes.length; at += pageBytes) {
    const isEmpty = bytes.readUInt16LE(at) === 0;
    const place = start + BigInt(at);
    if (!isEmpty && bytes.readBigUInt64LE(at + 8) !== place) {
      throw damaged(key, `the page at ${lsnText(place)} is another one`);
    }
  }
}

function damaged(key: string, what: string): Failure {
  return new Failure('Corrupt', `${key} is damaged: ${what}.`, { next: 'Use another copy of it.' });
}
