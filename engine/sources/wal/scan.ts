/**
 * Looks at WAL as it goes by, for what a person asks for later: when transactions ended, which, and named restore
 * points. Reads the headers of records only (PostgreSQL: access/xlogrecord.h, xlog_internal.h; the same from version
 * 15 to 18). What it cannot make sense of it passes over, up to the next page: nothing depends on it but how well a
 * moment is found.
 */

export interface WalFindings {
  /** Ends of transactions, committed or not. */
  transactions: number;
  /** Milliseconds since 1970, of the first and the last of them; null when there is none. */
  firstAt: number | null;
  lastAt: number | null;
  /** The least and the greatest id among them, 32 bits; null when there is none. */
  xids: { min: number; max: number } | null;
  restorePoints: { name: string; lsn: bigint; at: number }[];
}

const pageBytes = 8192n;
const shortHeaderBytes = 24;
const longHeaderBytes = 40;
const flagContinues = 1;
const flagLong = 2;
const recordHeaderBytes = 24;
/** A record's beginning, as far as anything here is of interest: header, and a restore point's time and name. */
const prefixBytesMax = 112;
const epochMs = Date.UTC(2000, 0, 1);
const rmXlog = 0;
const rmXact = 1;
const restorePoint = 0x70;
const xactMask = 0x70;
const xactEnds = new Set([0x00, 0x20, 0x30, 0x40]);
const restorePointsMax = 100;

export function createWalScanner() {
  /** Of the page at hand: its header as far as it has come, null once it is through. */
  let header: Buffer | null = null;
  /** Bytes to pass over: the rest of a record that began on an earlier page, or of which nothing more is of interest. */
  let skip = 0;
  /** False until the beginning of a record is known. */
  let synced = false;
  let record: { lsn: bigint; prefix: Buffer; have: number; want: number; length: number } | null = null;
  let found = nothing();

  return {
    /** Takes the next bytes; they begin where the last ones ended. */
    scan(lsn: bigint, bytes: Buffer): void {
      let at = 0;
      while (at < bytes.length) {
        const here = lsn + BigInt(at);
        const inPage = Number(here % pageBytes);
        if (inPage === 0) header = Buffer.alloc(0);
        const stretch = bytes.subarray(at, at + Number(pageBytes) - inPage);
        if (header) at += takeHeader(stretch);
        else if (!synced) at += stretch.length;
        else at += takeRecord(here, stretch);
      }
    },
    /** What was found since the last time it was asked for. */
    take(): WalFindings {
      const result = found;
      found = nothing();
      return result;
    },
  };

  function takeHeader(stretch: Buffer): number {
    const before = header?.length ?? 0;
    const known = header && before >= 4 ? header.readUInt16LE(2) : null;
    const wanted = known !== null && (known & flagLong) !== 0 ? longHeaderBytes : shortHeaderBytes;
    const part = stretch.subarray(0, wanted - before);
    const all = Buffer.concat([header ?? Buffer.alloc(0), part]);
    header = all;
    if (all.length < shortHeaderBytes) return part.length;
    const flags = all.readUInt16LE(2);
    if ((flags & flagLong) !== 0 && all.length < longHeaderBytes) return part.length;
    header = null;
    startPage(all.readUInt16LE(0), flags, all.readUInt32LE(16));
    return part.length;
  }

  function startPage(magic: number, flags: number, rest: number): void {
    const continues = (flags & flagContinues) !== 0;
    // After a switch of segments come pages of zeros; and a page may say that a record that it continues was given up.
    if (magic === 0 || (synced && continues !== (skip > 0 || record !== null))) {
      synced = false;
      record = null;
      skip = 0;
    }
    if (synced || magic === 0) return;
    skip = continues ? rest : 0;
    synced = true;
  }

  /** Bytes of this page that belong to one record, or pad it. */
  function takeRecord(here: bigint, stretch: Buffer): number {
    if (skip > 0) {
      const bytes = Math.min(skip, stretch.length);
      skip -= bytes;
      return bytes;
    }
    if (!record) {
      // Records begin at multiples of 8.
      const padding = Number((8n - (here % 8n)) % 8n);
      if (padding > 0) return Math.min(padding, stretch.length);
      record = { lsn: here, prefix: Buffer.alloc(prefixBytesMax), have: 0, want: recordHeaderBytes, length: 0 };
    }
    const part = stretch.subarray(0, record.want - record.have);
    record.prefix.set(part, record.have);
    record.have += part.length;
    if (record.have < record.want) return part.length;
    if (record.length === 0) {
      record.length = record.prefix.readUInt32LE(0);
      if (record.length < recordHeaderBytes) {
        synced = false;
        record = null;
        return part.length;
      }
      const manager = record.prefix[17];
      if (manager === rmXact || manager === rmXlog) record.want = Math.min(record.length, prefixBytesMax);
      if (record.have < record.want) return part.length;
    }
    note(record.lsn, record.prefix.subarray(0, record.want));
    skip = record.length - record.have;
    record = null;
    return part.length;
  }

  function note(lsn: bigint, record: Buffer): void {
    const info = record[16] ?? 0;
    const manager = record[17];
    if (manager === rmXact && xactEnds.has(info & xactMask)) {
      const data = mainData(record);
      if (data && data.length >= 8) noteEnd(record.readUInt32LE(4), timeOf(data));
    } else if (manager === rmXlog && (info & 0xf0) === restorePoint) {
      const data = mainData(record);
      if (!data || data.length < 9 || found.restorePoints.length >= restorePointsMax) return;
      const name = data.subarray(8, 72);
      const end = name.indexOf(0);
      found.restorePoints.push({
        name: name.toString('utf8', 0, end < 0 ? name.length : end),
        lsn,
        at: timeOf(data),
      });
    }
  }

  function noteEnd(xid: number, at: number): void {
    found.transactions++;
    found.firstAt = Math.min(found.firstAt ?? at, at);
    found.lastAt = Math.max(found.lastAt ?? at, at);
    if (xid === 0) return;
    found.xids = { min: Math.min(found.xids?.min ?? xid, xid), max: Math.max(found.xids?.max ?? xid, xid) };
  }
}

function nothing(): WalFindings {
  return { transactions: 0, firstAt: null, lastAt: null, xids: null, restorePoints: [] };
}

/** A record's own data, behind what may come before it when it concerns no page (xlogrecord.h). */
function mainData(record: Buffer): Buffer | null {
  for (let at = recordHeaderBytes; at < record.length; ) {
    switch (record[at]) {
      case 255:
        return record.subarray(at + 2);
      case 254:
        return record.subarray(at + 5);
      case 253:
        at += 3;
        break;
      case 252:
        at += 5;
        break;
      default:
        return null;
    }
  }
  return null;
}

function timeOf(data: Buffer): number {
  return epochMs + Number(data.readBigInt64LE(0) / 1000n);
}
