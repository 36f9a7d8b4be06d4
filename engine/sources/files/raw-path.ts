/** Names of files are raw bytes, in no encoding; as text they are Latin-1, which keeps all bytes and their order. */

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

export function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

const slash = Buffer.of(0x2f);

/** Where a path of a tree is; the empty one is the tree itself. */
export function inTree(root: string | Uint8Array, path: Uint8Array): Buffer {
  const folder = typeof root === 'string' ? Buffer.from(root) : root;
  return Buffer.concat(path.length === 0 ? [folder] : [folder, slash, path]);
}
