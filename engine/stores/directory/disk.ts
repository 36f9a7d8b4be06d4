import type { Dirent, Stats, StatsFs } from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import type { CallWatch, WatchedCall } from './call-watch.ts';

/** What a store in a folder asks a file system to do. Names are absolute, and errors those of Node.js. */
export interface Disk {
  /** Of a link itself. */
  lstat(file: string): Promise<Stats>;
  stat(file: string): Promise<Stats>;
  statfs(file: string): Promise<StatsFs>;
  readdir(folder: string): Promise<Dirent<Buffer>[]>;
  readText(file: string): Promise<string>;
  /** For its user only; fails when the folder above is not there. */
  mkdir(folder: string): Promise<void>;
  rmdir(folder: string): Promise<void>;
  link(file: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Also succeeds when it is not there. */
  rm(file: string): Promise<void>;
  /** A new file is for its user only. */
  open(file: string, flags: string | number): Promise<OpenFile>;
}

/** The folder of a store, the copy's name, and what the folder is worked on with. */
export interface Place {
  name: string;
  root: string;
  disk: Disk;
}

/** The caller closes it. */
export interface OpenFile {
  stat(): Promise<Stats>;
  truncate(bytes: number): Promise<void>;
  /** How many bytes came; 0 at the end. */
  read(into: Buffer, position: number): Promise<number>;
  /** How many of the bytes were written. */
  write(bytes: Buffer, position: number): Promise<number>;
  /** Makes what was written outlive a loss of power. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The file system of this machine. */
export const localDisk: Disk = {
  lstat: (file) => fs.lstat(file),
  stat: (file) => fs.stat(file),
  statfs: (file) => fs.statfs(file),
  readdir: (folder) => fs.readdir(folder, { withFileTypes: true, encoding: 'buffer' }),
  readText: (file) => fs.readFile(file, 'utf8'),
  mkdir: (folder) => fs.mkdir(folder, { mode: 0o700 }).then(() => {}),
  rmdir: (folder) => fs.rmdir(folder),
  link: (file, name) => fs.link(file, name),
  rename: (from, to) => fs.rename(from, to),
  rm: (file) => fs.rm(file, { force: true }),
  open: async (file, flags) => opened(await fs.open(file, flags, 0o600)),
};

function opened(handle: FileHandle): OpenFile {
  return {
    stat: () => handle.stat(),
    truncate: (bytes) => handle.truncate(bytes),
    read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    sync: () => handle.sync(),
    // Once what is under way on it has returned.
    close: () => handle.close(),
  };
}

/**
 * The same, each call watched. What moves bytes for hours does so by calls that each return.
 *
 * @param syncMaxMs the limit where the system writes all that it has gathered
 */
export function watchedDisk(disk: Disk, watch: CallWatch, syncMaxMs: number): Disk {
  const one =
    <R>(name: string, call: (file: string) => Promise<R>) =>
    (file: string) =>
      watch.run({ what: `${name} ${file}`, start: () => call(file) });
  return {
    lstat: one('lstat', disk.lstat),
    stat: one('stat', disk.stat),
    statfs: one('statfs', disk.statfs),
    readdir: one('readdir', disk.readdir),
    readText: one('read', disk.readText),
    mkdir: one('mkdir', disk.mkdir),
    rmdir: one('rmdir', disk.rmdir),
    link: (file, name) => watch.run({ what: `link ${name}`, start: () => disk.link(file, name) }),
    rename: (from, to) => watch.run({ what: `rename ${from}`, start: () => disk.rename(from, to) }),
    rm: one('rm', disk.rm),
    async open(file, flags) {
      const start = () => disk.open(file, flags);
      // Nobody waits for it any more.
      const late = (found: OpenFile) =>
        void watchedFile(found, file)
          .close()
          .catch(() => {});
      return watchedFile(await watch.run({ what: `open ${file}`, start, late }), file);
    },
  };

  function watchedFile(open: OpenFile, file: string): OpenFile {
    const watched = <T>(name: string, start: () => Promise<T>, more: Partial<WatchedCall<T>> = {}) =>
      watch.run({ what: `${name} ${file}`, start, ...more });
    return {
      stat: () => watched('stat', () => open.stat()),
      truncate: (bytes) => watched('truncate', () => open.truncate(bytes)),
      read: (into, position) => watched('read', () => open.read(into, position)),
      write: (bytes, position) => watched('write', () => open.write(bytes, position)),
      sync: () => watched('sync', () => open.sync(), { silentMaxMs: syncMaxMs }),
      close: () => watched('close', () => open.close(), { isOwed: true }),
    };
  }
}
