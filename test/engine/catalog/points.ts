import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateSigningKey, publicKeyOf, readSigningKey, signBackupJson } from '../../../engine/artifact/index.ts';
import { bytesSource, createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import {
  type BackupJson,
  backupFormat,
  backupJson,
  backupJsonName,
  pointPrefix,
} from '../../../policies/recovery-point.ts';

/** Keys of a test's own. */
export const signer = readSigningKey(generateSigningKey());
export const stranger = readSigningKey(generateSigningKey());
export const trusted = [publicKeyOf(signer)];

export interface PointChoices {
  id: string;
  source?: string;
  capturedAt?: string;
  passed?: boolean;
  signedBy?: typeof signer;
  facts?: BackupJson['facts'];
  level?: BackupJson['level'];
  parent?: string;
  classes?: BackupJson['classes'];
  sourceBytes?: number;
}

export interface MadePoint {
  backup: BackupJson;
  /** The text of backup.json. */
  text: string;
  /** Sealed objects by name. */
  objects: Map<string, Buffer>;
}

/** A signed recovery point with small objects. */
export function makePoint(choices: PointChoices): MadePoint {
  const { id, source = 'shop', capturedAt = '2026-01-02T03:04:05Z', passed = true, signedBy = signer } = choices;
  const objects = new Map(
    ['artifact', 'manifest', 'key'].map((role) => [`${role}.bin`, Buffer.from(`${role} of ${id}`)] as const),
  );
  const text = signBackupJson(
    {
      format: backupFormat,
      id,
      source: { name: source, kind: 'files', host: 'local' },
      level: choices.level ?? (choices.parent === undefined ? 'full' : 'incremental'),
      parent: choices.parent ?? null,
      classes: choices.classes ?? ['manual'],
      startedAt: capturedAt,
      capturedAt,
      sealedAt: capturedAt,
      content: { format: 'pax-tar', bytes: 100, sourceBytes: choices.sourceBytes ?? 80, entries: 3, unstable: 0 },
      facts: choices.facts ?? { zebra: 1, apple: 'two', ünïcode: null },
      objects: [...objects].map(([name, bytes]) => ({
        role: name.slice(0, -4) as 'artifact' | 'manifest' | 'key',
        name,
        bytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      })),
      compression: { scheme: 'zstd', level: 3 },
      encryption: {
        scheme: 'tink-streaming-aead/AES256_GCM_HKDF_1MB',
        recipients: ['age1example'],
        keyCheck: 'c'.repeat(64),
      },
      software: 'tests',
      validation: {
        finishedAt: capturedAt,
        passed,
        checks: [{ check: 'integrity', passed, details: 'read', durationMs: 5 }],
      },
    },
    signedBy,
  );
  return { backup: backupJson.parse(JSON.parse(text)), text, objects };
}

/** Lays a point into a store as publishing does: its objects, then backup.json. */
export async function publish(store: Store, point: MadePoint, where = prefixOf(point)): Promise<void> {
  for (const [name, bytes] of point.objects) await store.put(where + name, bytesSource(bytes), {});
  await store.put(where + backupJsonName, bytesSource(Buffer.from(point.text)), {});
}

export function prefixOf({ backup }: MadePoint): string {
  return pointPrefix(backup.source.name, backup.id);
}

/** Folders that play stores, removed together. */
export function makeStores(...names: string[]): { dir: string; stores: Store[]; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), 'catalog-'));
  const stores = names.map((name) => {
    mkdirSync(path.join(dir, name));
    return createDirectoryStore({ name, path: path.join(dir, name) });
  });
  return { dir, stores, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
