import type { Readable } from 'node:stream';

/** Rows and an order-independent checksum per table; large objects and sequences count as tables of their own. */
export type Fingerprint = Map<string, { rows: number; checksum: string }>;

export const sequencesTable = '(sequences)';
export const largeObjectsTable = '(large objects)';

/** Two 32-bit lanes, summed over rows, so that the order of rows does not matter. */
interface Sum {
  rows: number;
  a: number;
  b: number;
}

/**
 * Takes the fingerprint of a plain data-only script, as `pg_dump --data-only` and `pg_restore --data-only -f -` both
 * write it: every row of every COPY block (COPY's text format has one row on each line), every setval, every lowrite.
 */
export async function fingerprintScript(script: Readable): Promise<Fingerprint> {
  const sums = new Map<string, Sum>();
  let inCopy: Sum | null = null;
  const onLine = (line: Buffer) => {
    if (inCopy) {
      if (line.length === 2 && line[0] === 0x5c && line[1] === 0x2e) inCopy = null;
      else addRow(inCopy, line);
      return;
    }
    // 'C' and 'S' are what COPY and SELECT begin with; everything else is of no interest.
    if (line[0] !== 0x43 && line[0] !== 0x53) return;
    const text = line.toString('utf8');
    if (text.startsWith('COPY ') && text.endsWith(' FROM stdin;')) {
      inCopy = sumOf(sums, text.slice('COPY '.length, -' FROM stdin;'.length));
    } else if (text.startsWith('SELECT pg_catalog.setval(')) {
      addRow(sumOf(sums, sequencesTable), line);
    } else if (text.startsWith('SELECT pg_catalog.lowrite(') || text.startsWith('SELECT pg_catalog.lo_open(')) {
      addRow(sumOf(sums, largeObjectsTable), line);
    }
  };

  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of script as AsyncIterable<Buffer>) {
    const data: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a, from)) {
      onLine(data.subarray(from, end));
      from = end + 1;
    }
    rest = data.subarray(from);
  }
  if (rest.length > 0) onLine(rest);
  return new Map([...sums].map(([table, s]) => [table, { rows: s.rows, checksum: hex(s.a) + hex(s.b) }]));
}

function sumOf(sums: Map<string, Sum>, table: string): Sum {
  const sum = sums.get(table) ?? { rows: 0, a: 0, b: 0 };
  sums.set(table, sum);
  return sum;
}

/** A 64-bit hash of the row's bytes (two multiply-xor lanes, finished by avalanche), added modulo 2^32 each. */
function addRow(sum: Sum, row: Uint8Array): void {
  let a = 0xdeadbeef ^ row.length;
  let b = 0x41c6ce57 ^ row.length;
  for (let i = 0; i < row.length; i++) {
    const byte = row[i] ?? 0;
    a = Math.imul(a ^ byte, 2_654_435_761);
    b = Math.imul(b ^ byte, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  sum.rows++;
  sum.a = (sum.a + (a >>> 0)) >>> 0;
  sum.b = (sum.b + (b >>> 0)) >>> 0;
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
    if (!have) differences.push(`${table} is missing`);
    else if (have.rows !== want.rows) differences.push(`${table} has ${have.rows} rows instead of ${want.rows}`);
    else if (have.checksum !== want.checksum) differences.push(`${table}: its ${want.rows} rows are not those of the dump`);
  }
  for (const [table, have] of found) {
    if (!expected.has(table) && have.rows > 0) differences.push(`${table} is there but not in the dump`);
  }
  return differences;
}
