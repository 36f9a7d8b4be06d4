import { isFailure } from '../../policies/failure.ts';
import { type HoldNote, holdNoteName } from '../../policies/hold.ts';
import { type BackupJson, backupJsonName, keyName, pointPrefix } from '../../policies/recovery-point.ts';
import { listKeys } from '../artifact/index.ts';
import { bytesSource, type Store } from '../stores/index.ts';

/**
 * Sets or lifts the legal hold on a point in one store, and lays the note beside it, first: nothing is lifted that is
 * not written down. Safe to repeat. Resolves to `store` where the store itself lets nobody remove what is held, and to
 * `note` where only our own workers heed it.
 */
export async function holdPoint(
  store: Store,
  backup: Pick<BackupJson, 'id' | 'source' | 'objects'>,
  note: HoldNote,
): Promise<'store' | 'note'> {
  const prefix = pointPrefix(backup.source.name, backup.id);
  await store.put(prefix + holdNoteName(note), bytesSource(`${JSON.stringify(note, null, 2)}\n`), {});
  try {
    const names = new Set([
      backupJsonName,
      ...backup.objects.map((o) => o.name),
      ...(await listKeys({ store, prefix })),
    ]);
    for (const name of names) {
      await store.hold(prefix + name, note.action === 'add').catch((error: unknown) => {
        // Rotated away: a later key has taken its place, and is held.
        if (name === keyName && isFailure(error, 'ObjectMissing')) return;
        throw error;
      });
    }
    return 'store';
  } catch (error) {
    if (!isFailure(error, 'CapabilityMissing')) throw error;
    return 'note';
  }
}
