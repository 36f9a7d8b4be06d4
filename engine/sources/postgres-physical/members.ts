import { type ArtifactWriter, type Block, blockBytesMax, type Entry, sortedEntries } from '../../artifact/index.ts';
import { endOfArchive, paddingOf, tarHeader } from '../files/tar.ts';
import { createBlockSealer, type Earlier } from './blocks.ts';
import type { TarMember } from './untar.ts';

/**
 * Seals members of a server's archives, with a manifest that is sorted: as one pax tar; or, compared with an earlier
 * point, what has changed of their blocks.
 */
export interface MemberSealer {
  /** Its content is read into buffers that are given out one after the other, of at most 1 MiB. */
  add(member: TarMember, read: (into: Uint8Array) => Promise<unknown>): Promise<void>;
  /** A folder that the archives have not, or not as such. */
  folder(path: string, mode: number, like?: TarMember): Promise<void>;
  /** Owner and times for what the archives have not. */
  readonly like: TarMember;
  /** Ends the archive and writes the manifest. */
  finish(): Promise<{ bytes: number; sourceBytes: number; entries: number }>;
}

interface Pending {
  entry: Entry;
  blocks: Block[];
  /** Blocks under way, and one while it is being added. */
  open: number;
}

/** @param earlier what of the cluster an earlier point has, and how pages are told apart */
export function createMemberSealer(writer: ArtifactWriter, scratchDir: string, earlier: Earlier): MemberSealer {
  const sorted = sortedEntries(writer, scratchDir);
  const { packer, ...sealing } = createBlockSealer(writer);
  const isTar = earlier.index === null;
  let sourceBytes = 0;
  let entries = 0;
  let first: TarMember | null = null;
  /** Folders that came before any member: they get its owner. */
  const early: { path: string; mode: number }[] = [];

  const close = (pending: Pending) => {
    pending.open--;
    if (pending.open === 0) sorted.add(pending.entry, pending.blocks);
  };

  const sealer: MemberSealer = {
    get like() {
      const now = Math.floor(Date.now() / 1000);
      const base = { uid: 0, gid: 0, user: 'postgres', group: 'postgres', mtime: now };
      return { ...base, ...first, path: '', type: 'file' as const, mode: 0o600, size: 0, link: '' };
    },

    async add(member, read) {
      first ??= member;
      for (const { path, mode } of early.splice(0)) await sealer.folder(path, mode, member);
      const pending: Pending = { entry: entryOf(member), blocks: [], open: 1 };
      const { size, path } = pending.entry;
      const rule = earlier.ruleFor(member.path);
      const known = size > 0 ? earlier.index?.blocksOf(path) : undefined;
      if (isTar) packer.bytes(tarHeader(pending.entry));
      for (let at = 0; at < size; at += blockBytesMax) {
        const bytes = Buffer.allocUnsafeSlow(Math.min(blockBytesMax, size - at));
        await read(bytes);
        const index = at / blockBytesMax;
        pending.open++;
        await sealing.add({ bytes, rule, known: (await known?.next())?.value ?? null }, (block) => {
          pending.blocks[index] = block;
          close(pending);
        });
      }
      await known?.return(undefined);
      if (isTar) {
        // The tar's padding comes after its content.
        if (rule) await sealing.settled();
        packer.bytes(Buffer.alloc(paddingOf(size)));
      }
      close(pending);
      sourceBytes += size;
      entries++;
      await sorted.relieve();
    },

    async folder(path, mode, like) {
      if (!like && !first) early.push({ path, mode });
      else
        await sealer.add(
          { ...(like ?? sealer.like), path, type: 'directory', mode, size: 0, link: '' },
          async () => {},
        );
    },

    async finish() {
      await sealing.settled();
      if (isTar) packer.bytes(endOfArchive(packer.contentBytes()));
      await packer.settled();
      await sorted.finish();
      return { bytes: packer.contentBytes(), sourceBytes, entries };
    },
  };
  return sealer;
}

function entryOf(member: TarMember): Entry {
  const ns = `${BigInt(member.mtime) * 1_000_000_000n}`;
  return {
    path: Buffer.from(member.path, 'latin1'),
    type: member.type,
    mode: member.mode,
    uid: member.uid,
    gid: member.gid,
    user: member.user,
    group: member.group,
    mtimeNs: ns,
    ctimeNs: ns,
    dev: '0',
    ino: '0',
    size: member.size,
    ...(member.type === 'symlink' ? { link: Buffer.from(member.link, 'latin1') } : {}),
  };
}
