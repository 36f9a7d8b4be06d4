import type { Readable } from 'node:stream';

/** Rows and an order-independent checksum per table; large objects and sequences count as tables of their own. */
export type Fingerprint = Map<string, { rows: number; checksum: string }>;

export const sequencesTable = '(sequences)';
export const largeObjectsTable = '(large objects)';

/** Four 32-bit lanes, each summed over the rows modulo 2^32, so that the order of rows does not matter. */
interface Sum {
  rows: number;
  lanes: Uint32Array;
}

const newline = 0x0a;
const lowrite = Buffer.from('SELECT pg_catalog.lowrite(');

/**
 * Takes the fingerprint of a plain data-only script, as `pg_dump --data-only` and `pg_restore --data-only -f -` both
 * write it: every row of every COPY block (COPY's text format has one row on each line), every setval, every large
 * object. A row is hashed as it comes, whatever its length; memory does not grow with the data.
 */
export async function fingerprintScript(script: Readable): Promise<Fingerprint> {
  const sums = new Map<string, Sum>();
  let into: Sum | null = null;
  let largeObject: RowHash | null = null;
  const row = new RowHash();
  /** What the row begins with: a COPY block ends with a line of its own, `\.`, which no row can be. */
  let head = 0;
  let sql: Buffer[] = [];
  let statement = '';

  const endOfRow = (sum: Sum) => {
    if (row.length === 2 && head === 0x5c2e) into = null;
    else row.addTo(sum);
    row.reset();
    head = 0;
  };
  const endOfLargeObject = () => {
    largeObject?.addTo(sumOf(sums, largeObjectsTable));
    largeObject = null;
  };
  const endOfLine = (line: Buffer) => {
    if (statement === '' && line.subarray(0, lowrite.length).equals(lowrite)) {
      // Hex digits of a stretch of the object; how it is cut into stretches says nothing about it.
      largeObject?.update(line, viewOf(line), line.indexOf('x', lowrite.length) + 1, line.lastIndexOf("'"));
      return;
    }
    // Names may hold line ends, so that a statement goes on until its quotes are closed.
    statement = statement === '' ? line.toString() : `${statement}\n${line.toString()}`;
    if (!/^(COPY|SELECT pg_catalog\.) ?/.test(statement)) statement = '';
    if (!statement.endsWith(';') || quotesOpen(statement)) return;
    if (statement.startsWith('COPY ') && statement.endsWith(' FROM stdin;')) {
      into = sumOf(sums, statement.slice('COPY '.length, -' FROM stdin;'.length));
    } else if (statement.startsWith('SELECT pg_catalog.setval(')) {
      hashOf(statement).addTo(sumOf(sums, sequencesTable));
    } else if (statement.startsWith('SELECT pg_catalog.lo_open(')) {
      endOfLargeObject();
      largeObject = hashOf(statement);
    }
    statement = '';
  };

  for await (const chunk of script as AsyncIterable<Buffer>) {
    const view = viewOf(chunk);
    for (let from = 0; from < chunk.length; ) {
      const found = chunk.indexOf(newline, from);
      const end = found < 0 ? chunk.length : found;
      if (into) {
        for (let i = from; i < end && row.length + (i - from) < 2; i++) head = (head << 8) | (chunk[i] ?? 0);
        row.update(chunk, view, from, end);
        if (found >= 0) endOfRow(into);
      } else {
        sql.push(chunk.subarray(from, end));
        if (found >= 0) {
          endOfLine(sql.length === 1 && sql[0] ? sql[0] : Buffer.concat(sql));
          sql = [];
        }
      }
      from = end + 1;
    }
  }
  endOfLargeObject();
  return new Map([...sums].map(([table, s]) => [table, { rows: s.rows, checksum: [...s.lanes].map(hex).join('') }]));
}

function quotesOpen(statement: string): boolean {
  return statement.split('"').length % 2 === 0 || statement.split("'").length % 2 === 0;
}

function sumOf(sums: Map<string, Sum>, table: string): Sum {
  const sum = sums.get(table) ?? { rows: 0, lanes: new Uint32Array(4) };
  sums.set(table, sum);
  return sum;
}

/**
 * A 128-bit hash of one row's bytes, taken as they come: four lanes that xor, multiply and rotate each 32-bit word,
 * finished by murmur3's avalanche. It finds damage; it is no defence against a forger, whom the sealed format keeps out.
 */
class RowHash {
  length = 0;
  /** Typed, for numbers above 2^30 would otherwise be put on the heap one by one. */
  private readonly lanes = new Int32Array(4);
  /** The bytes of a word that is not complete yet. */
  private word = 0;

  constructor() {
    this.reset();
  }

  reset(): void {
    this.length = 0;
    this.word = 0;
    const { lanes } = this;
    // One by one: set() is slow for so few.
    lanes[0] = 0x243f6a88;
    lanes[1] = 0x85a308d3;
    lanes[2] = 0x13198a2e;
    lanes[3] = 0x03707344;
  }

  /** @param view of the same memory as the bytes */
  update(bytes: Uint8Array, view: DataView, from: number, end: number): void {
    let at = from;
    // Words are counted from the row's beginning, wherever the row is cut.
    for (; at < end && this.length % 4 !== 0; at++) this.byte(bytes[at] as number);
    const { lanes } = this;
    let a = lanes[0] as number;
    let b = lanes[1] as number;
    let c = lanes[2] as number;
    let d = lanes[3] as number;
    const wordsEnd = at + ((end - at) & ~3);
    this.length += wordsEnd - at;
    for (; at < wordsEnd; at += 4) {
      const word = view.getInt32(at, true);
      a = Math.imul(a ^ word, 0x9e3779b1);
      a = (a << 13) | (a >>> 19);
      b = Math.imul(b ^ word, 0x85ebca77);
      b = (b << 11) | (b >>> 21);
      c = Math.imul(c ^ word, 0xc2b2ae3d);
      c = (c << 17) | (c >>> 15);
      d = Math.imul(d ^ word, 0x27d4eb2f);
      d = (d << 7) | (d >>> 25);
    }
    lanes[0] = a;
    lanes[1] = b;
    lanes[2] = c;
    lanes[3] = d;
    for (; at < end; at++) this.byte(bytes[at] as number);
  }

  private byte(byte: number): void {
    this.word |= byte << (8 * (this.length % 4));
    this.length++;
    if (this.length % 4 === 0) this.endWord();
  }

  private endWord(): void {
    const { lanes, word } = this;
    const a = Math.imul((lanes[0] as number) ^ word, 0x9e3779b1);
    lanes[0] = (a << 13) | (a >>> 19);
    const b = Math.imul((lanes[1] as number) ^ word, 0x85ebca77);
    lanes[1] = (b << 11) | (b >>> 21);
    const c = Math.imul((lanes[2] as number) ^ word, 0xc2b2ae3d);
    lanes[2] = (c << 17) | (c >>> 15);
    const d = Math.imul((lanes[3] as number) ^ word, 0x27d4eb2f);
    lanes[3] = (d << 7) | (d >>> 25);
    this.word = 0;
  }

  addTo(sum: Sum): void {
    if (this.length % 4 !== 0) this.endWord();
    const { lanes, length } = this;
    const a = avalanche((lanes[0] as number) ^ length);
    const b = avalanche((lanes[1] as number) ^ a);
    const c = avalanche((lanes[2] as number) ^ b);
    const d = avalanche((lanes[3] as number) ^ c);
    const into = sum.lanes;
    // A Uint32Array keeps what is left modulo 2^32.
    into[0] = (into[0] as number) + avalanche(a ^ d);
    into[1] = (into[1] as number) + b;
    into[2] = (into[2] as number) + c;
    into[3] = (into[3] as number) + d;
    sum.rows++;
  }
}

function hashOf(text: string): RowHash {
  const bytes = Buffer.from(text);
  const hash = new RowHash();
  hash.update(bytes, viewOf(bytes), 0, bytes.length);
  return hash;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function avalanche(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function hex(n: number): string {
  return n.toString(16).padStart(8, '0');
}

/** What differs, in words, each with its table. Empty when both are equal. */
export function compareFingerprints(expected: Fingerprint, found: Fingerprint): string[] {
  const differences: string[] = [];
  for (const [table, want] of expected) {
    const have = found.get(table);
    if (!have && want.rows === 0) continue;
    if (!have) differences.push(`${tableName(table)} is missing with its ${want.rows} rows`);
    else if (have.rows !== want.rows)
      differences.push(`${tableName(table)} has ${have.rows} rows instead of ${want.rows}`);
    else if (have.checksum !== want.checksum) {
      differences.push(`${tableName(table)}: its ${want.rows} rows are not those of the dump`);
    }
  }
  for (const [table, have] of found) {
    if (!expected.has(table) && have.rows > 0) differences.push(`${tableName(table)} is there but not in the dump`);
  }
  return differences;
}

/** Without the list of columns. */
function tableName(table: string): string {
  const part = String.raw`(?:"(?:[^"]|"")*"|[^."\s(]+)`;
  return new RegExp(String.raw`^${part}(?:\.${part})?`).exec(table)?.[0] ?? table;
}
