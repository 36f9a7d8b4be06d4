import koffi from 'koffi';

/** Modification times to the nanosecond, which Node's fs does not offer. Linux; raw-byte paths. */

const libc = koffi.load('libc.so.6');
const utimensat = libc.func('int utimensat(int dirfd, const uint8_t *path, const uint8_t *times, int flags)');
const futimens = libc.func('int futimens(int fd, const uint8_t *times)');

const atFdcwd = -100;
const atSymlinkNofollow = 0x100;
const errno = koffi.os.errno as Record<string, number>;

/** Sets it of a path itself, a link too. */
export function setMtime(path: Uint8Array, mtimeNs: string): void {
  if (utimensat(atFdcwd, terminated(path), timesOf(mtimeNs), atSymlinkNofollow) !== 0)
    throw systemError('utimensat', path);
}

/** Sets it of an open file; `path` is for the error. */
export function setMtimeOf(fd: number, mtimeNs: string, path: Uint8Array): void {
  if (futimens(fd, timesOf(mtimeNs)) !== 0) throw systemError('futimens', path);
}

/** Of access and modification, both the same: two `struct timespec`. */
function timesOf(mtimeNs: string): Buffer {
  const ns = BigInt(mtimeNs);
  const billion = 1_000_000_000n;
  const fraction = ((ns % billion) + billion) % billion;
  const times = Buffer.alloc(32);
  for (const at of [0, 16]) {
    times.writeBigInt64LE((ns - fraction) / billion, at);
    times.writeBigInt64LE(fraction, at + 8);
  }
  return times;
}

/** An error of the C library's call before, as Node's fs would raise it. */
export function systemError(call: string, path: Uint8Array): NodeJS.ErrnoException {
  const number = koffi.errno();
  const code = Object.keys(errno).find((name) => errno[name] === number) ?? `E${number}`;
  const shown = Buffer.from(path).toString();
  return Object.assign(new Error(`${code}: ${call} '${shown}'`), { code, errno: -number, syscall: call, path: shown });
}

/** A path as the C library wants it. */
export function terminated(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.of(0)]);
}
