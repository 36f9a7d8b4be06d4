import { Failure } from '../../../policies/failure.ts';

/** Reads the tar archives that a PostgreSQL server sends: ustar, files, folders and symbolic links only. */

export interface TarMember {
  /** Without './' before it and '/' after it. */
  path: string;
  type: 'file' | 'directory' | 'symlink';
  mode: number;
  uid: number;
  gid: number;
  user: string;
  group: string;
  /** Seconds since 1970. */
  mtime: number;
  size: number;
  link: string;
}

const recordBytes = 512;
const types = new Map([
  ['0', 'file'],
  ['\0', 'file'],
  ['2', 'symlink'],
  ['5', 'directory'],
] as const);

/** Takes exact amounts out of a stream that comes in chunks. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.chunks = chunks[Symbol.asyncIterator]();
  }

  /** Fills the buffer; false when the stream ended right before it. Throws when it ends within. */
  async fill(into: Uint8Array): Promise<boolean> {
    let at = 0;
    while (at < into.length) {
      if (this.rest.length === 0 && !(await this.more())) {
        if (at === 0) return false;
        throw broken('it ends in the middle of a file');
      }
      const part = this.rest.subarray(0, into.length - at);
      into.set(part, at);
      at += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    return true;
  }

  async skip(bytes: number): Promise<void> {
    if (bytes > 0) await this.fill(Buffer.allocUnsafe(bytes));
  }

  private async more(): Promise<boolean> {
    const next = await this.chunks.next();
    if (next.done) return false;
    this.rest = next.value;
    return true;
  }
}

/**
 * The archive's members, one after the other. The content of each is taken from the same reader, all of it, before the
 * next one is asked for; padding is passed over here.
 */
export async function* readTar(reader: ByteReader): AsyncGenerator<TarMember> {
  const record = Buffer.alloc(recordBytes);
  while (await reader.fill(record)) {
    // Two empty records end an archive; whatever follows is padding.
    if (record[0] === 0) continue;
    const member = parseHeader(record);
    yield member;
    await reader.skip((recordBytes - (member.size % recordBytes)) % recordBytes);
  }
}

function parseHeader(b: Buffer): TarMember {
  // Of the header with spaces in the place of the checksum.
  let sum = 8 * 0x20;
  for (let i = 0; i < recordBytes; i++) if (i < 148 || i >= 156) sum += b[i] ?? 0;
  if (number(b, 148, 8) !== sum) throw broken('a header does not match its checksum');
  const type = types.get(String.fromCharCode(b[156] ?? 0) as '0');
  if (!type) throw broken(`it has a member of type ${JSON.stringify(String.fromCharCode(b[156] ?? 0))}`);
  return {
    path: text(b, 0, 100).replace(/^\.\//, '').replace(/\/$/, ''),
    type,
    mode: number(b, 100, 8) & 0o7777,
    uid: number(b, 108, 8),
    gid: number(b, 116, 8),
    size: type === 'file' ? number(b, 124, 12) : 0,
    mtime: number(b, 136, 12),
    link: text(b, 157, 100),
    user: text(b, 265, 32),
    group: text(b, 297, 32),
  };
}

/** PostgreSQL's names are bytes of any encoding; latin1 keeps them apart. */
function text(b: Buffer, at: number, length: number): string {
  const end = b.subarray(at, at + length).indexOf(0);
  return b.toString('latin1', at, at + (end < 0 ? length : end));
}

/** Octal digits; or, from 8 GiB on, binary with the first bit set. */
function number(b: Buffer, at: number, length: number): number {
  if (((b[at] ?? 0) & 0x80) === 0) return Number.parseInt(text(b, at, length).trim() || '0', 8);
  let value = (b[at] ?? 0) & 0x7f;
  for (let i = 1; i < length; i++) value = value * 256 + (b[at + i] ?? 0);
  return value;
}

function broken(what: string): Failure {
  return new Failure('SourceFailed', `The server's archive cannot be read: ${what}.`, {
    next: 'Is the connection sound? It is tried again by itself.',
  });
}
