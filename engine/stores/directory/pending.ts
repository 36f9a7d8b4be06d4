import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import type { ObjectFacts, PendingPut } from '../store.ts';
import type { Place } from './disk.ts';
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

/** Begins with what it is for, so that the little that a crash leaves of a put's first moment is found by its token. */
function newToken(key: string): string {
  return shortHash(folderOf(key)) + shortHash(key) + randomBytes(8).toString('hex');
}

/** Of a file that only tries what can be done here. No key is like this one. */
export const probeToken = () => newToken('//');

const probeOldMs = 60_000;

/** Removes what was left of trying by whoever was killed meanwhile. */
export async function removeOldProbes(place: Place): Promise<void> {
  const ours = probeToken().slice(0, 16);
  for await (const { token, startedAt } of allPending(place)) {
    if (token.startsWith(ours) && Date.now() - Date.parse(startedAt) > probeOldMs) await removePending(place, token);
  }
}

const folderOf = (key: string) => key.slice(0, key.lastIndexOf('/') + 1);
const shortHash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8);

/** The token of an earlier attempt at this very put, or a new one. */
export async function tokenFor(place: Place, key: string, promised: ObjectFacts, resume?: string): Promise<string> {
  const earlier = resume === undefined ? null : await readPending(place, resume);
  const isSame = earlier?.key === key && earlier.bytes === promised.bytes && earlier.sha256 === promised.sha256;
  return isSame ? earlier.token : newToken(key);
}

export async function readPending({ root, disk }: Place, token: string): Promise<PendingRecord | null> {
  const file = pendingPath(root, token);
  const about = file === null ? null : ((await readJson(disk, `${file}.json`)) as PendingRecord | null);
  return about && typeof about.key === 'string' && about.token === token ? about : null;
}

export async function writePending(place: Place, record: PendingRecord): Promise<void> {
  await ensureFolder(place, path.join(place.root, pendingName));
  await replaceFile(place.disk, path.join(place.root, pendingName, `${record.token}.json`), JSON.stringify(record));
}

/** Idempotent. */
export async function removePending({ root, disk }: Place, token: string): Promise<void> {
  const file = pendingPath(root, token);
  if (file === null) return;
  await disk.rm(file);
  await removeFile(disk, `${file}.json`);
}

/** Of puts of this very key, whole or not, of any process: it is written once, so they can never come true. */
export async function removePendingOf(place: Place, key: string): Promise<void> {
  for await (const { token, key: found } of allPending(place)) {
    if (found === key || (found === '' && token.slice(8, 16) === shortHash(key))) await removePending(place, token);
  }
}

/**
 * Puts under way whose key starts with the prefix, of any process. One that ends meanwhile is not told. Of what a crash
 * left too early to have a key, all for the prefix '', and for a folder what would have been an object in it.
 */
export async function* pendingUnder(place: Place, prefix: string): AsyncGenerator<PendingPut & { startedAt: string }> {
  for await (const pending of allPending(place)) {
    const { key, token } = pending;
    if (key === '' ? prefix === '' || token.startsWith(shortHash(prefix)) : key.startsWith(prefix)) yield pending;
  }
}

/** Without a key: what a crash left too early. */
async function* allPending(place: Place): AsyncGenerator<PendingPut & { startedAt: string }> {
  const folder = path.join(place.root, pendingName);
  const files = (await entriesOf(place.disk, folder)).map((e) => e.name.toString());
  const tokens = new Map(files.map((name) => [name.split('.')[0] ?? '', name]));
  for (const [token, name] of tokens) {
    if (!tokenForm.test(token)) continue;
    const { key, bytes, sha256 } = (await readPending(place, token)) ?? { key: '', bytes: 0, sha256: '' };
    try {
      const { mtime } = await place.disk.stat(path.join(folder, name));
      yield { key, bytes, sha256, token, startedAt: mtime.toISOString() };
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
}
