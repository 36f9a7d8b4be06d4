import { isFailure } from '../../policies/failure.ts';
import { type HoldNote, holdNoteName } from '../../policies/hold.ts';
import { type BackupJson, backupJsonName, pointPrefix } from '../../policies/recovery-point.ts';
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
    for (const name of [backupJsonName, ...backup.objects.map((o) => o.name)]) {
      await store.hold(prefix + name, note.action === 'add');
    }
    return 'store';
  } catch (error) {
    if (!isFailure(error, 'CapabilityMissing')) throw error;
    return 'note';
  }
}
