import type { Entry } from '../../artifact/index.ts';
import { aclRecords, aclText } from './acl.ts';

/** POSIX.1-2001 (pax) headers: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html */

const recordBytes = 512;
const typeFlags = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' } as const;
const paxFlag = 'x';
/** What fits a field of 11 octal digits, and one of 7. */
const octal11 = 0o77777777777;
const octal7 = 0o7777777;
/** A user's or group's name has 32 bytes, the last of them 0. */
const nameBytesMax = 31;
const billion = 1_000_000_000n;

/** The member's header: a pax record block where ustar alone would lose something, then ustar. */
export function tarHeader(entry: Entry): Buffer {
  const path = memberPath(entry);
  const records: Buffer[] = [];
  const pax = (key: string, value: Uint8Array | string) => records.push(paxRecord(key, Buffer.from(value)));
  const binary = !isUtf8(path) || (entry.link !== undefined && !isUtf8(entry.link));
  if (binary) pax('hdrcharset', 'BINARY');
  if (path.length > 100 || !isAscii(path)) pax('path', path);
  if (entry.link && (entry.link.length > 100 || !isAscii(entry.link))) pax('linkpath', entry.link);
  const size = entry.type === 'file' ? entry.size : 0;
  if (size > octal11) pax('size', String(size));
  if (entry.uid > octal7) pax('uid', String(entry.uid));
  if (entry.gid > octal7) pax('gid', String(entry.gid));
  const mtime = Number(BigInt(entry.mtimeNs) / billion);
  if (BigInt(entry.mtimeNs) % billion !== 0n || mtime < 0 || mtime > octal11) pax('mtime', seconds(entry.mtimeNs));
  if (!fitsName(entry.user)) pax('uname', entry.user);
  if (!fitsName(entry.group)) pax('gname', entry.group);
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) {
    const record = aclRecords[name];
    const acl = record ? aclText(value) : null;
    if (record && acl !== null) pax(record, acl);
    else pax(`SCHILY.xattr.${name}`, value);
  }
  const header = ustar({
    path,
    flag: typeFlags[entry.type],
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size,
    mtime,
    link: entry.link ?? Buffer.alloc(0),
    user: entry.user,
    group: entry.group,
    rdev: entry.rdev ?? { major: 0, minor: 0 },
  });
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const paxHeader = ustar({
    path: Buffer.from('PaxHeader'),
    flag: paxFlag,
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: body.length,
    mtime: 0,
    link: Buffer.alloc(0),
    user: '',
    group: '',
    rdev: { major: 0, minor: 0 },
  });
  return Buffer.concat([paxHeader, body, Buffer.alloc(paddingOf(body.length)), header]);
}

/** Zero bytes that follow a member's content. */
export function paddingOf(bytes: number): number {
  return (recordBytes - (bytes % recordBytes)) % recordBytes;
}

/** Two empty records, padded to tar's customary block. */
export function endOfArchive(bytesSoFar: number): Buffer {
  const block = 20 * recordBytes;
  const end = bytesSoFar + 2 * recordBytes;
  return Buffer.alloc(2 * recordBytes + ((block - (end % block)) % block));
}

function memberPath(entry: Entry): Buffer {
  const path = Buffer.from(entry.path.length === 0 ? '.' : entry.path);
  return entry.type === 'directory' ? Buffer.concat([path, Buffer.from('/')]) : path;
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  // The length counts its own digits.
  let length = rest.length + String(rest.length).length;
  if (String(length).length !== String(rest.length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** Seconds with as many decimals as it takes; exact, also before 1970. */
function seconds(ns: string): string {
  const value = BigInt(ns);
  const sign = value < 0n ? '-' : '';
  const digits = (value < 0n ? -value : value).toString().padStart(10, '0');
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/0+$/, '').replace(/\.$/, '');
}

interface UstarFields {
  path: Uint8Array;
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  link: Uint8Array;
  user: string;
  group: string;
  rdev: { major: number; minor: number };
}

function ustar(f: UstarFields): Buffer {
  const b = Buffer.alloc(recordBytes);
  b.set(f.path.subarray(0, 100), 0);
  octal(b, f.mode, 100, 8);
  octal(b, f.uid > octal7 ? 0 : f.uid, 108, 8);
  octal(b, f.gid > octal7 ? 0 : f.gid, 116, 8);
  octal(b, f.size > octal11 ? 0 : f.size, 124, 12);
  octal(b, f.mtime < 0 || f.mtime > octal11 ? 0 : f.mtime, 136, 12);
  b.fill(' ', 148, 156);
  b.write(f.flag, 156);
  b.set(f.link.subarray(0, 100), 157);
  b.write('ustar\x0000', 257);
  b.write(f.user, 265, 31);
  b.write(f.group, 297, 31);
  octal(b, f.rdev.major, 329, 8);
  octal(b, f.rdev.minor, 337, 8);
  let sum = 0;
  for (const byte of b) sum += byte;
  b.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return b;
}

function octal(b: Buffer, value: number, at: number, width: number): void {
  b.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at);
}

function fitsName(name: string): boolean {
  return Buffer.byteLength(name) === name.length && name.length <= nameBytesMax;
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((b) => b < 0x80);
}

function isUtf8(bytes: Uint8Array): boolean {
  return Buffer.from(Buffer.from(bytes).toString()).equals(bytes);
}
