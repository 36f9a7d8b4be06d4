import { createHash } from 'node:crypto';
import { Failure } from '../../policies/failure.ts';
import { type BackupJson, backupJsonName, pointPrefix } from '../../policies/recovery-point.ts';
import { listKeys, parseBackupJson } from '../artifact/index.ts';
import { sameDocument } from '../catalog/same-document.ts';
import { readBytes, type Store, verifyObject } from '../stores/index.ts';
import { type PointName, publishedAs } from './description.ts';
import { examined, type Part } from './part.ts';

/** A point: the objects that its description names, then the description. */
export async function pointPart(stores: Store[], point: PointName): Promise<Part> {
  const { trusted } = point;
  const backup = await publishedAs(stores, point);
  const prefix = pointPrefix(point.source, point.pointId);
  const last = prefix + backupJsonName;
  const objects = new Map(backup.objects.map((o) => [prefix + o.name, o]));
  return {
    description: { key: last, backup },
    facts: (key) => objects.get(key) ?? null,
    text: () => null,
    owns: (key) => key === last || objects.has(key),
    async *keysIn(store) {
      for (const [key, { role, name }] of objects) {
        if (role === 'key' && (await isRotatedAway(store, prefix, name))) continue;
        yield key;
      }
      yield last;
    },
    examine: (store, key, options) =>
      examined(async () => {
        const object = objects.get(key);
        if (object) {
          await verifyObject(store, key, object, options);
          return object;
        }
        const text = await readBytes(store, key, options?.signal);
        if (!sameDocument(parseIn(store, key, text, trusted), backup)) {
          throw new Failure('Corrupt', `${key} in ${store.name} describes something else.`, {
            next: 'Use another copy of this recovery point.',
          });
        }
        return { bytes: text.length, sha256: createHash('sha256').update(text).digest('hex') };
      }),
  };
}

/** A former key that was taken away must not come back from a copy that had to keep it; others open the point. */
async function isRotatedAway(store: Store, prefix: string, name: string): Promise<boolean> {
  const names = await listKeys({ store, prefix });
  return names.length > 0 && !names.includes(name);
}

/** Names the object: a description that cannot be read does not know whose it is. */
function parseIn(store: Store, key: string, text: Buffer, trusted: string[]): BackupJson {
  try {
    return parseBackupJson(text, trusted);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(error.type, `${key} in ${store.name}: ${error.message}`, { next: error.next, cause: error });
  }
}
