import { randomBytes } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ObjectFacts, PendingPut } from '../store.ts';
import { codeOf, ensureFolder, entriesOf, removeFile, replaceFile } from './files.ts';
import { readJson } from './meta.ts';

const pendingName = '.pending';
const tokenForm = /^[0-9a-f]{32}$/;

/** What is kept of a put under way, in `.pending/TOKEN.json`; its bytes are in `.pending/TOKEN`. */
export interface PendingRecord extends PendingPut {
  metadata: Record<string, string>;
  tags: Record<string, string>;
  /** All bytes have arrived and were compared. */
  whole: boolean;
}

/** Where the bytes of a put under way are. Null for what is no token, which nothing is under way for. */
export function pendingPath(root: string, token: string): string | null {
  return tokenForm.test(token) ? path.join(root, pendingName, token) : null;
}

/** The token of an earlier attempt at this very put, or a new one. */
export async function tokenFor(root: string, key: string, promised: ObjectFacts, resume?: string): Promise<string> {
  const earlier = resume === undefined ? null : await readPending(root, resume);
  const isSame = earlier?.key === key && earlier.bytes === promised.bytes && earlier.sha256 === promised.sha256;
  return isSame ? earlier.token : randomBytes(16).toString('hex');
}

export async function readPending(root: string, token: string): Promise<PendingRecord | null> {
  const file = pendingPath(root, token);
  const about = file === null ? null : ((await readJson(`${file}.json`)) as PendingRecord | null);
  return about && typeof about.key === 'string' && about.token === token ? about : null;
}

export async function writePending(root: string, record: PendingRecord): Promise<void> {
  await ensureFolder(root, path.join(root, pendingName));
  await replaceFile(path.join(root, pendingName, `${record.token}.json`), JSON.stringify(record));
}

/** Idempotent. */
export async function removePending(root: string, token: string): Promise<void> {
  const file = pendingPath(root, token);
  if (file === null) return;
  await rm(file, { force: true });
  await removeFile(`${file}.json`);
}

/**
 * Puts under way whose key passes, of any process. One that ends meanwhile is not told. What a crash left too early to be
 * of a key has the key ''.
 */
export async function* allPending(
  root: string,
  takes: (key: string) => boolean,
): AsyncGenerator<PendingPut & { startedAt: string }> {
  const folder = path.join(root, pendingName);
  const files = (await entriesOf(folder)).map((e) => e.name.toString());
  const tokens = new Map(files.map((name) => [name.split('.')[0] ?? '', name]));
  for (const [token, name] of tokens) {
    if (!tokenForm.test(token)) continue;
    const { key, bytes, sha256 } = (await readPending(root, token)) ?? { key: '', bytes: 0, sha256: '' };
    if (!takes(key)) continue;
    try {
      const { mtime } = await stat(path.join(folder, name));
      yield { key, bytes, sha256, token, startedAt: mtime.toISOString() };
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
}
