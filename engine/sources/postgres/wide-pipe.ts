import { closeSync, read as readFd } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import koffi from 'koffi';

/** What a program prints, by a pipe that holds a chunk. */
export interface WidePipe {
  /** File descriptor for the program; the caller closes it once the program has it. */
  writeEnd: number;
  /** Chunks of 1 MiB each in memory of its own, less where no more comes for a while, and at the end. */
  content: Readable;
}

const chunkBytes = 1024 * 1024;
/** How long nothing is read after the pipe was found empty: at first, and at most, in milliseconds. */
const [pauseMin, pauseMax] = [1, 32];

const libc = koffi.load('libc.so.6');
const pipe2 = libc.func('int pipe2(_Out_ int *ends, int flags)');
const fcntl = libc.func('int fcntl(int fd, int command, ...)');
const [setFlags, setPipeBytes, closeOnExec, nonBlocking] = [4, 1031, 0o2000000, 0o4000];
const read = promisify(readFd);

/**
 * For gigabytes from a program that writes a few KiB at a time, such as pg_dump: Node's own pipes wake both sides for each
 * of them. This one is read when much has come.
 */
export function openWidePipe(): WidePipe {
  const ends = [0, 0];
  if (pipe2(ends, closeOnExec) !== 0) throw new Error(`pipe2 failed with errno ${koffi.errno()}`);
  const [readEnd, writeEnd] = ends as [number, number];
  // Refused where a user has many pipes already; then it holds 64 KiB, and is read more often.
  fcntl(writeEnd, setPipeBytes, 'int', chunkBytes);
  fcntl(readEnd, setFlags, 'int', nonBlocking);
  return { writeEnd, content: readableOf(readEnd) };
}

function readableOf(fd: number): Readable {
  let reading = Promise.resolve();
  const content = new Readable({
    highWaterMark: chunkBytes,
    read() {
      reading = nextChunk(fd, () => content.destroyed).then(
        (chunk) => void content.push(chunk),
        (error: Error) => void content.destroy(error),
      );
    },
    destroy(error, callback) {
      const close = () => {
        closeSync(fd);
        callback(error);
      };
      void reading.then(close);
    },
  });
  return content;
}

/** Null at the end. */
async function nextChunk(fd: number, isOver: () => boolean): Promise<Buffer | null> {
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  let at = 0;
  for (let pause = pauseMin; ; ) {
    const bytes = await readSome(fd, chunk, at);
    if (bytes === 0) return at > 0 ? chunk.subarray(0, at) : null;
    at += bytes ?? 0;
    if (at === chunkBytes) return chunk;
    if (isOver() || (at > 0 && pause > pauseMax)) return chunk.subarray(0, at);
    if (bytes !== null) pause = pauseMin;
    await setTimeout(Math.min(pause, pauseMax));
    pause *= 2;
  }
}

/** How many bytes came: 0 at the end, null when there are none now. */
async function readSome(fd: number, into: Buffer, at: number): Promise<number | null> {
  try {
    return (await read(fd, into, at, into.length - at, null)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null;
    throw error;
  }
}
