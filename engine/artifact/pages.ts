import { hash } from 'node:crypto';
import { lsnOf } from '../../policies/wal.ts';
import type { Run } from './blocks.ts';

/**
 * Pages of PostgreSQL's relations: which of them have changed since an earlier backup. Layout of a page's header:
 * PostgreSQL manual, 73.6 Database Page Layout (pd_lsn in bytes 0 to 7, pd_upper in 14 and 15, pd_pagesize_version in
 * 18 and 19).
 */

/** How changed pages are told from others. */
export interface PageRule {
  /** Of one page. */
  bytes: number;
  /** By LSN, as page checksums imply: when the earlier backup began. By hash: null, 8 bytes of each page's are kept. */
  since: string | null;
}

/** What an earlier point has of the same stretch of a file. */
export interface KnownBlock {
  bytes: number;
  sha256: string;
  pages?: string;
}

const hashBytes = 8;
/** Of every page since PostgreSQL 8.3: the layout's version, in the low byte beside the page's size. */
const layoutVersion = 4;

/**
 * Runs of pages of a block that may not be what the earlier one has, in order; null when the earlier one is of no help.
 *
 * With checksums a page that was written to has an LSN not older than the earlier backup's start (hint bits included:
 * the server logs the page first); one that bears no LSN, or is none at all, counts as changed.
 *
 * @param hashes of the block's pages, where they are compared by them
 */
export function changedRuns(bytes: Buffer, known: KnownBlock, rule: PageRule, hashes: Buffer | null): Run[] | null {
  const before = hashes && (known.pages === undefined ? null : Buffer.from(known.pages, 'base64'));
  if (hashes !== null && before === null) return null;
  const since = rule.since === null ? 0n : lsnOf(rule.since);
  const runs: Run[] = [];
  for (let at = 0, page = 0; at < bytes.length; at += rule.bytes, page++) {
    const end = Math.min(bytes.length, at + rule.bytes);
    // What the earlier block has only a part of, it does not have.
    const isThere = end <= known.bytes && end - at === rule.bytes;
    const isSame = isThere && (hashes ? sameHash(hashes, before, page) : isOlder(bytes, at, rule.bytes, since));
    if (isSame) continue;
    const last = runs.at(-1);
    if (last && last.offset + last.bytes === at) last.bytes += end - at;
    else runs.push({ offset: at, bytes: end - at });
  }
  return runs;
}

/** 8 bytes of the SHA-256 of each page; of a last one that is cut off, too. */
export function pageHashes(bytes: Buffer, pageBytes: number): Buffer {
  const hashes = Buffer.alloc(Math.ceil(bytes.length / pageBytes) * hashBytes);
  for (let at = 0, page = 0; at < bytes.length; at += pageBytes, page++) {
    hash('sha256', bytes.subarray(at, at + pageBytes), 'buffer').copy(hashes, page * hashBytes, 0, hashBytes);
  }
  return hashes;
}

function sameHash(a: Buffer, b: Buffer | null, page: number): boolean {
  const at = page * hashBytes;
  if (b === null || at + hashBytes > b.length) return false;
  return a.compare(b, at, at + hashBytes, at, at + hashBytes) === 0;
}

function isOlder(bytes: Buffer, at: number, pageBytes: number, since: bigint): boolean {
  // A server of the other byte order writes it the other way round: then every page counts as changed.
  if (bytes.readUInt16LE(at + 18) !== (pageBytes | layoutVersion)) return false;
  const isNew = bytes.readUInt16LE(at + 14) === 0;
  const lsn = (BigInt(bytes.readUInt32LE(at)) << 32n) | BigInt(bytes.readUInt32LE(at + 4));
  return !isNew && lsn !== 0n && lsn < since;
}
