import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { gapsOf, lsnOf, lsnText, mergeRanges, timelinesOf, type WalGap, type WalRange } from '../../../policies/wal.ts';
import { openWal, readWalHeader, type WalReading } from '../../artifact/index.ts';
import { type ContentsOptions, listWal, type StoredRange } from './contents.ts';

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
  const { identity, onProgress, signal } = options;
  const contents = await listWal(options);
  const problems = contents.strangers.map((key) => `${key} does not belong there`);
  const good: StoredRange[] = [];
  const clusters = new Set<string>();
  const check = async (range: StoredRange) => {
    signal?.throwIfAborted();
    try {
      clusters.add(await checkRange({ ...options, key: range.key }, range, identity));
      good.push(range);
    } catch (error) {
      if (!isFailure(error, 'Corrupt', 'SignatureInvalid', 'FormatUnsupported', 'ObjectMissing', 'KeyWrong'))
        throw error;
      problems.push(error.message);
    }
  };
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
async function checkRange(reading: WalReading, range: StoredRange, identity: string | undefined): Promise<string> {
  const { header, lineBytes } = await readWalHeader(reading);
  if (lineBytes + header.cipher.bytes !== range.bytes) {
    throw damaged(reading.key, `it has ${range.bytes} bytes instead of ${lineBytes + header.cipher.bytes}`);
  }
  if (header.kind === 'range' && lsnOf(header.endLsn) - lsnOf(header.startLsn) !== BigInt(header.content.bytes)) {
    throw damaged(reading.key, 'its length is not that of its range');
  }
  if (identity === undefined) return header.systemIdentifier;
  const hash = createHash('sha256');
  for await (const chunk of await reading.store.get(reading.key, { offset: lineBytes }, reading.signal)) {
    hash.update(chunk as Buffer);
  }
  if (hash.digest('hex') !== header.cipher.sha256) throw damaged(reading.key, 'its SHA-256 is not what was signed');
  const wal = await openWal(reading, identity);
  const step = 16 * 1024 * 1024;
  for (let at = 0; at < header.content.bytes; at += step) {
    const bytes = await wal.read(at, Math.min(step, header.content.bytes - at));
    if (header.kind === 'range') checkPages(reading.key, lsnOf(header.startLsn) + BigInt(at), bytes);
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
