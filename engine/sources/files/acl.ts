/**
 * POSIX ACLs as Linux keeps them in extended attributes: a version (2), then tag, permissions and id of every entry,
 * little-endian (linux/posix_acl_xattr.h). Tar carries them as text (acl(5)) in records of their own.
 */
export const aclRecords: Record<string, string> = {
  'system.posix_acl_access': 'SCHILY.acl.access',
  'system.posix_acl_default': 'SCHILY.acl.default',
};

const version = 2;
const headerBytes = 4;
const entryBytes = 8;
/** Tags by number; those of a named user or group have an id. */
const tags: Record<number, { text: string; named: boolean }> = {
  1: { text: 'user', named: false },
  2: { text: 'user', named: true },
  4: { text: 'group', named: false },
  8: { text: 'group', named: true },
  16: { text: 'mask', named: false },
  32: { text: 'other', named: false },
};

/** The text form, ids as numbers: `user::rw-,user:1000:r--,…`; null for what is no such value. */
export function aclText(value: Uint8Array): string | null {
  const bytes = Buffer.from(value);
  if (bytes.length < headerBytes || (bytes.length - headerBytes) % entryBytes !== 0) return null;
  if (bytes.readUInt32LE(0) !== version) return null;
  const entries: string[] = [];
  for (let at = headerBytes; at < bytes.length; at += entryBytes) {
    const tag = tags[bytes.readUInt16LE(at)];
    if (!tag) return null;
    const bits = bytes.readUInt16LE(at + 2);
    const may = (bit: number, letter: string) => (bits & bit ? letter : '-');
    entries.push(
      `${tag.text}:${tag.named ? bytes.readUInt32LE(at + 4) : ''}:${may(4, 'r')}${may(2, 'w')}${may(1, 'x')}`,
    );
  }
  return entries.join(',');
}
