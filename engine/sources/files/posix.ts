import koffi from 'koffi';
import { systemError, terminated } from '../../file-times.ts';

/** What Node's fs does not offer: extended attributes and special files. Linux; raw-byte paths. */

const libc = koffi.load('libc.so.6');
const llistxattr = libc.func('int64_t llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)');
const lgetxattr = libc.func(
  'int64_t lgetxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)',
);
const lsetxattr = libc.func(
  'int lsetxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, size_t size, int flags)',
);
const mknod = libc.func('int mknod(const uint8_t *path, uint32_t mode, uint64_t dev)');

const errno = koffi.os.errno as Record<string, number>;

const listBuffer = Buffer.alloc(64 * 1024);
const valueBuffer = Buffer.alloc(64 * 1024);

/** All extended attributes of a path itself (links not followed), null when it has none. */
export function readXattrs(path: Uint8Array): Record<string, Uint8Array> | null {
  const file = terminated(path);
  const length = Number(llistxattr(file, listBuffer, listBuffer.length));
  if (length === 0) return null;
  if (length < 0) {
    // File systems without attributes, and files that are gone by now.
    if ([errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOENT, errno.EACCES].includes(koffi.errno())) return null;
    throw systemError('llistxattr', path);
  }
  const found: Record<string, Uint8Array> = {};
  for (const name of listBuffer.toString('utf8', 0, length - 1).split('\0')) {
    const size = Number(lgetxattr(file, terminated(Buffer.from(name)), valueBuffer, valueBuffer.length));
    if (size >= 0) found[name] = Uint8Array.from(valueBuffer.subarray(0, size));
  }
  return Object.keys(found).length > 0 ? found : null;
}

export function setXattr(path: Uint8Array, name: string, value: Uint8Array): void {
  const bytes = value.length > 0 ? Buffer.from(value) : Buffer.alloc(1);
  if (lsetxattr(terminated(path), terminated(Buffer.from(name)), bytes, value.length, 0) !== 0) {
    throw systemError('lsetxattr', path);
  }
}

const typeBits = { fifo: 0o010000, char: 0o020000, block: 0o060000 } as const;

/** Makes a fifo or a device node. */
export function makeNode(
  path: Uint8Array,
  type: keyof typeof typeBits,
  mode: number,
  rdev: { major: number; minor: number },
): void {
  const { major, minor } = rdev;
  const dev =
    (BigInt(major & 0xfff) << 8n) |
    BigInt(minor & 0xff) |
    (BigInt(minor & ~0xff) << 12n) |
    (BigInt(major & ~0xfff) << 32n);
  if (mknod(terminated(path), typeBits[type] | mode, dev) !== 0) throw systemError('mknod', path);
}

/** The two numbers of st_rdev. */
export function splitDevice(rdev: bigint): { major: number; minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)),
  };
}
