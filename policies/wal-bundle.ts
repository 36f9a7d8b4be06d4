import { z } from 'zod';
import { keyNumber } from './recovery-point.ts';
import { lsnText, type WalRange } from './wal.ts';

/** WAL as it lies in a store: the clear-text, signed first line of one object. See docs/format.md, section 9. */

export const walFormat = 'backup-coordinator/wal/1';

const timestamp = z.iso.datetime();
const bytes = z.int().nonnegative();
const lsn = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/, 'a position such as 0/3000060');
const timeline = z.int().min(1).max(0xffffffff);

const common = {
  format: z.literal(walFormat),
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,255}$/, 'a plain name'),
  source: z.strictObject({ name: z.string(), host: z.string() }),
  systemIdentifier: z.string().regex(/^\d{1,20}$/, 'a number'),
  timeline,
  /** Decompressed length. */
  content: z.strictObject({ bytes }),
  /** Compressed length of each frame; all but the last hold 4 MiB. */
  frames: z.array(z.int().positive()),
  /** What follows the first line. */
  cipher: z.strictObject({ bytes, sha256: z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hex') }),
  compression: z.strictObject({ scheme: z.literal('zstd'), level: z.int() }),
  encryption: z.strictObject({
    scheme: z.literal('tink-streaming-aead/AES256_GCM_HKDF_1MB'),
    recipients: z.array(z.string()).min(1),
    keyCheck: z.string().regex(/^[0-9a-f]{64}$/, '64 digits of lower-case hex'),
    /** The key, wrapped: an age file in base64. */
    key: z.string(),
  }),
  sealedAt: timestamp,
  software: z.string(),
};

const signature = z.strictObject({ algorithm: z.literal('ed25519'), publicKey: z.string(), value: z.string() });

const walRange = z.strictObject({
  ...common,
  kind: z.literal('range'),
  startLsn: lsn,
  endLsn: lsn,
  segmentBytes: z.int().positive(),
  serverMajor: z.int(),
  /** The server's clock: whatever was committed before lies before `endLsn`. */
  until: timestamp,
  /** Transactions that ended within, committed or not. */
  transactions: z.strictObject({
    count: z.int().nonnegative(),
    firstAt: timestamp.nullable(),
    lastAt: timestamp.nullable(),
    /** The least and greatest id of 32 bits. */
    xids: z.strictObject({ min: z.int(), max: z.int() }).nullable(),
  }),
  restorePoints: z.array(z.strictObject({ name: z.string(), lsn, at: timestamp })),
});

const walHistory = z.strictObject({
  ...common,
  kind: z.literal('history'),
  /** The timelines that it comes from, the oldest first, and where each was left. */
  ancestors: z.array(z.strictObject({ timeline, until: lsn })),
});

export const unsignedWal = z.discriminatedUnion('kind', [walRange, walHistory]);
export type UnsignedWal = z.infer<typeof unsignedWal>;

export const walHeader = z.discriminatedUnion('kind', [
  z.strictObject({ ...walRange.shape, signature }),
  z.strictObject({ ...walHistory.shape, signature }),
]);
export type WalHeader = z.infer<typeof walHeader>;
export type WalRangeHeader = Extract<WalHeader, { kind: 'range' }>;

const hex = (value: bigint | number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0');

/** Below it lies all WAL of a source. */
export function walPrefix(source: string): string {
  return `${source}/wal/`;
}

/**
 * The key of a range: timeline, first and last position, and the time that it reaches, so that a listing alone tells
 * what an archive holds. What the name says counts only together with the signed first line.
 *
 * @param unique 8 hex digits, so that two writers never ask for one name
 */
export function walRangeKey(source: string, { timeline: t, start, end, until }: WalRange, unique: string): string {
  const at = new Date(until).toISOString().replace(/[-:.]/g, '');
  return `${walPrefix(source)}${hex(t, 8)}/${hex(start, 16)}-${hex(end, 16)}-${at}-${unique}.wal`;
}

export function walHistoryKey(source: string, t: number, unique: string): string {
  return `${walPrefix(source)}${hex(t, 8)}/history-${unique}.wal`;
}

/** Where further wrapped keys of an object of WAL lie: beside it, in a folder of the same name. */
export function walKeysPrefix(key: string): string {
  return `${key.slice(0, -'.wal'.length)}/`;
}

/** The key of the object of WAL that a wrapped key `key.N.age` is that of; null for whatever is none. */
export function walOfWrappedKey(source: string, key: string): string | null {
  const slash = key.lastIndexOf('/');
  const wal = `${key.slice(0, slash)}.wal`;
  const number = keyNumber(key.slice(slash + 1));
  return number !== null && number > 1 && parseWalKey(source, wal) ? wal : null;
}

export type WalKey =
  | { kind: 'range'; key: string; range: WalRange }
  | { kind: 'history'; key: string; timeline: number };

/** What a key of walRangeKey or walHistoryKey says; null for any other. */
export function parseWalKey(source: string, key: string): WalKey | null {
  if (!key.startsWith(walPrefix(source))) return null;
  const [, t = '', name = ''] = /^([0-9A-F]{8})\/(.+)$/.exec(key.slice(walPrefix(source).length)) ?? [];
  const at = Number.parseInt(t, 16);
  if (/^history-[0-9a-f]{8}\.wal$/.test(name)) return { kind: 'history', key, timeline: at };
  const found = /^([0-9A-F]{16})-([0-9A-F]{16})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-[0-9a-f]{8}\.wal$/.exec(
    name,
  );
  if (!found) return null;
  const [, start, end, y, mo, d, h, mi, s, ms] = found;
  const range = {
    timeline: at,
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    until: `${y}-${mo}-${d}T${h}:${mi}:${s}.${ms}Z`,
  };
  return { kind: 'range', key, range };
}

/** True when the signed line says of itself what its key says of it. */
export function isAtItsKey(header: UnsignedWal, key: WalKey): boolean {
  if (header.kind !== key.kind) return false;
  if (key.kind === 'history') return header.timeline === key.timeline;
  const { timeline: t, start, end, until } = key.range;
  return (
    header.kind === 'range' &&
    header.timeline === t &&
    header.startLsn === lsnText(start) &&
    header.endLsn === lsnText(end) &&
    Date.parse(header.until) === Date.parse(until)
  );
}
