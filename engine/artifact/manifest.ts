import { Failure } from '../../policies/failure.ts';
import { plainName } from '../../policies/recovery-point.ts';
import { type BlockTuple, blockOf, bytesOf, isCount, isTuple, tupleOf } from './block-tuples.ts';
import type { ArtifactName, Block, Entry, EntryType, EntryWithBlocks } from './types.ts';

/** The manifest's lines, NDJSON with short keys because there are millions of them. Specified in docs/format.md. */

export const manifestFormat = 'backup-coordinator/manifest/1';
const blocksPerLine = 256;

export interface ManifestHeader {
  format: typeof manifestFormat;
  /** The point's id. */
  id: string;
  /** Artifacts that blocks refer to by index; 0 is the point's own. */
  artifacts: ArtifactName[];
}

const typeLetters = {
  file: 'f',
  directory: 'd',
  symlink: 'l',
  hardlink: 'h',
  fifo: 'p',
  char: 'c',
  block: 'b',
} as const;
const typesByLetter = new Map(Object.entries(typeLetters).map(([type, letter]) => [letter, type as EntryType]));

interface EntryLine {
  p?: string;
  p64?: string;
  t: string;
  m: number;
  u?: number;
  g?: number;
  un?: string;
  gn?: string;
  mt: string;
  ct?: string;
  d?: string;
  i?: string;
  s?: number;
  sp?: 1;
  l?: string;
  l64?: string;
  r?: [number, number];
  x?: Record<string, string>;
  q?: 1;
  z?: 1;
}

function text(bytes: Uint8Array, key: 'p' | 'l'): Record<string, string> {
  const asText = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  if (Buffer.from(asText).equals(bytes)) return { [key]: asText };
  return { [`${key}64`]: Buffer.from(bytes).toString('base64') };
}

/** One entry as its line, without newline. */
export function encodeEntry(entry: Entry): string {
  const line: EntryLine = {
    ...text(entry.path, 'p'),
    t: typeLetters[entry.type],
    m: entry.mode,
    ...(entry.uid === 0 ? {} : { u: entry.uid }),
    ...(entry.gid === 0 ? {} : { g: entry.gid }),
    ...(entry.user === 'root' ? {} : { un: entry.user }),
    ...(entry.group === 'root' ? {} : { gn: entry.group }),
    mt: entry.mtimeNs,
    ...(entry.ctimeNs === entry.mtimeNs ? {} : { ct: entry.ctimeNs }),
    ...(entry.dev === '0' ? {} : { d: entry.dev }),
    ...(entry.ino === '0' ? {} : { i: entry.ino }),
    ...(entry.size === 0 ? {} : { s: entry.size }),
    ...(entry.sparse ? { sp: 1 as const } : {}),
    ...(entry.link ? text(entry.link, 'l') : {}),
    ...(entry.rdev ? { r: [entry.rdev.major, entry.rdev.minor] as [number, number] } : {}),
    ...(entry.xattrs
      ? { x: Object.fromEntries(Object.entries(entry.xattrs).map(([k, v]) => [k, Buffer.from(v).toString('base64')])) }
      : {}),
    ...(entry.streamed ? { q: 1 as const } : {}),
    ...(entry.unstable ? { z: 1 as const } : {}),
  };
  return JSON.stringify(line);
}

/** An entry line has its type, mode and time; whatever else is there has the type that the format gives it. */
function isEntryLine(line: Partial<EntryLine>): line is EntryLine {
  const text = [line.p ?? '', line.p64 ?? '', line.t, line.un ?? '', line.gn ?? '', line.l ?? '', line.l64 ?? ''];
  const times = [line.mt, line.ct ?? '0'];
  const ids = [line.u ?? 0, line.g ?? 0, ...(line.r === undefined ? [] : [line.r[0], line.r[1]])];
  const named = line.p !== undefined || line.p64 !== undefined;
  return (
    named &&
    text.every((t) => typeof t === 'string') &&
    times.every((t) => typeof t === 'string' && nanoseconds.test(t)) &&
    [line.d ?? '0', line.i ?? '0'].every((t) => typeof t === 'string' && inode.test(t)) &&
    isCount(line.m, 0o7777) &&
    ids.every((n) => isCount(n, 0xffffffff)) &&
    isCount(line.s ?? 0) &&
    (line.x === undefined || (isObject(line.x) && Object.values(line.x).every((v) => typeof v === 'string')))
  );
}

const nanoseconds = /^-?\d{1,20}$/;
const inode = /^\d{1,20}$/;

/** The entry of a line. Throws Corrupt. */
export function decodeEntry(line: Partial<EntryLine>): Entry {
  if (!isEntryLine(line)) throw malformed(`a line is no entry (its path: ${shown(line.p ?? line.p64)})`);
  const type = typesByLetter.get(line.t as 'f');
  if (!type) throw malformed(`an entry has the unknown type ${shown(line.t)}`);
  const link =
    line.l !== undefined ? Buffer.from(line.l) : line.l64 !== undefined ? Buffer.from(line.l64, 'base64') : null;
  return {
    path: line.p64 === undefined ? Buffer.from(line.p ?? '') : Buffer.from(line.p64, 'base64'),
    type,
    mode: line.m,
    uid: line.u ?? 0,
    gid: line.g ?? 0,
    user: line.un ?? 'root',
    group: line.gn ?? 'root',
    mtimeNs: line.mt,
    ctimeNs: line.ct ?? line.mt,
    dev: line.d ?? '0',
    ino: line.i ?? '0',
    size: line.s ?? 0,
    ...(line.sp ? { sparse: true } : {}),
    ...(link ? { link } : {}),
    ...(line.r ? { rdev: { major: line.r[0], minor: line.r[1] } } : {}),
    ...(line.x
      ? { xattrs: Object.fromEntries(Object.entries(line.x).map(([k, v]) => [k, Buffer.from(v, 'base64')])) }
      : {}),
    ...(line.q ? { streamed: true } : {}),
    ...(line.z ? { unstable: true } : {}),
  };
}

/** Compares paths segment by segment as bytes, so that a directory comes right before what it holds. */
export function comparePaths(a: Uint8Array, b: Uint8Array): number {
  const slash = 0x2f;
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    if (x === y) continue;
    if (x === slash) return -1;
    if (y === slash) return 1;
    return x - y;
  }
  return a.length - b.length;
}

/** Turns entries and blocks into lines, and keeps the counts for the end. Text goes to `out` with its newlines. */
export class ManifestEncoder {
  private readonly out: (text: string) => void;
  private blocks: BlockTuple[] = [];
  private last: Uint8Array | null = null;
  entries = 0;
  private blockCount = 0;
  private bytes = 0;

  constructor(header: Omit<ManifestHeader, 'format'>, out: (text: string) => void) {
    this.out = out;
    out(`${JSON.stringify({ format: manifestFormat, ...header })}\n`);
  }

  entry(entry: Entry): void {
    this.flush();
    if (this.last && comparePaths(this.last, entry.path) >= 0) {
      throw new RangeError(`manifest entries out of order: ${Buffer.from(entry.path).toString()}`);
    }
    this.last = entry.path;
    this.entries++;
    this.out(`${encodeEntry(entry)}\n`);
  }

  block(block: Block): void {
    this.blocks.push(tupleOf(block));
    this.blockCount++;
    this.bytes += block.bytes;
    if (this.blocks.length === blocksPerLine) this.flush();
  }

  /** After an entry's blocks: it changed while they were read. */
  unstable(): void {
    this.flush();
    this.out(`${JSON.stringify({ unstable: 1 })}\n`);
  }

  end(): void {
    this.flush();
    this.out(`${JSON.stringify({ end: { entries: this.entries, blocks: this.blockCount, bytes: this.bytes } })}\n`);
  }

  private flush(): void {
    if (this.blocks.length === 0) return;
    this.out(`${JSON.stringify({ blocks: this.blocks })}\n`);
    this.blocks = [];
  }
}

/** Reads the header line, then the entries; a large file's blocks come line by line. Checks order, counts and the end. */
export async function decodeManifest(
  lines: AsyncIterator<string>,
): Promise<{ header: ManifestHeader; entries: AsyncGenerator<EntryWithBlocks> }> {
  const first = await lines.next();
  if (first.done) throw malformed('it is empty');
  const header: Partial<ManifestHeader> = parse(first.value);
  if (header.format !== manifestFormat) {
    throw new Failure(
      'FormatUnsupported',
      `The manifest has the format ${String(header.format)}; this version reads ${manifestFormat}.`,
      {
        next: 'Use a newer version of this software to read it.',
      },
    );
  }
  if (!isHeader(header)) throw malformed('its header is incomplete');
  const entries = decodeEntries(lines, header.artifacts.length);
  const end = entries.return.bind(entries);
  // Nobody may read on: a generator that was not begun does nothing at its end, and the lines would stay open.
  entries.return = async (value) => {
    await lines.return?.();
    return end(value);
  };
  return { header, entries };
}

function isHeader(header: Partial<ManifestHeader>): header is ManifestHeader {
  const { id, artifacts } = header;
  if (typeof id !== 'string' || !Array.isArray(artifacts)) return false;
  // They become parts of keys and paths.
  const isPlain = (name: unknown) => plainName.safeParse(name).success;
  const whole = artifacts.every((a) => isObject(a) && isPlain(a.id) && isPlain(a.source));
  return whole && artifacts[0]?.id === id;
}

interface Counts {
  entries: number;
  blocks: number;
  bytes: number;
}

async function* decodeEntries(lines: AsyncIterator<string>, artifacts: number): AsyncGenerator<EntryWithBlocks> {
  try {
    const seen: Seen = { entries: 0, blocks: 0, bytes: 0, artifacts };
    let last: Uint8Array | null = null;
    let line = await nextLine(lines);
    while (!('end' in line)) {
      const entry = decodeEntry(line);
      if (last && comparePaths(last, entry.path) >= 0) throw malformed('its entries are out of order');
      last = entry.path;
      seen.entries++;
      const state: BlocksState = { following: null, over: false };
      const given: EntryWithBlocks = {
        ...entry,
        blocks: decodeBlocks(lines, seen, state, () => {
          given.unstable = true;
        }),
      };
      yield given;
      state.over = true;
      // Whoever did not ask for all the blocks has the rest read over here.
      line = state.following ?? (await nextLine(lines));
      while ('blocks' in line || 'unstable' in line) {
        if ('blocks' in line) tuplesOf(line, seen);
        line = await nextLine(lines);
      }
    }
    const end = (line.end ?? {}) as Partial<Counts>;
    for (const what of ['entries', 'blocks', 'bytes'] as const) {
      if (end[what] !== seen[what]) throw malformed(`it names ${end[what]} ${what} at its end but has ${seen[what]}`);
    }
    const more = await lines.next();
    if (!more.done) throw malformed('something follows its end');
  } finally {
    await lines.return?.();
  }
}

/** What went by, and how many artifacts a block may refer to. */
interface Seen extends Counts {
  artifacts: number;
}

interface BlocksState {
  /** The line after the blocks, when they were read to their end. */
  following: Line | null;
  /** The next entry was asked for; these lines are no longer this one's. */
  over: boolean;
}

async function* decodeBlocks(
  lines: AsyncIterator<string>,
  seen: Seen,
  state: BlocksState,
  onUnstable: () => void,
): AsyncGenerator<Block> {
  for (;;) {
    if (state.over) throw new RangeError("an entry's blocks are to be read before the next entry is asked for");
    const next = await nextLine(lines);
    if ('unstable' in next) {
      onUnstable();
      continue;
    }
    if (!('blocks' in next)) {
      state.following = next;
      return;
    }
    for (const tuple of tuplesOf(next, seen)) yield blockOf(tuple);
  }
}

/** The tuples of a blocks line, counted, and checked: places in the artifact and the memory for them follow from them. */
function tuplesOf(line: Line, seen: Seen): BlockTuple[] {
  if (!Array.isArray(line.blocks)) throw malformed('a line of blocks holds none');
  for (const tuple of line.blocks) {
    if (!isTuple(tuple, seen.artifacts)) throw malformed('what should be a block is none');
    seen.blocks++;
    seen.bytes += bytesOf(tuple);
  }
  return line.blocks;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value out of a line, for a message: short, and whatever it is. */
function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 200)) : typeof value;
}

type Line = Record<string, unknown>;

async function nextLine(lines: AsyncIterator<string>): Promise<Line> {
  const next = await lines.next();
  if (next.done) throw malformed('it has no end line; it was cut off');
  return parse(next.value);
}

function parse(line: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw malformed('a line is not JSON', error);
  }
  if (!isObject(value)) throw malformed('a line is no JSON object');
  return value;
}

function malformed(what: string, cause?: unknown): Failure {
  return new Failure('Corrupt', `The manifest is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
    cause,
  });
}
