import { keyName } from '../../policies/recovery-point.ts';
import { readBytes } from '../stores/index.ts';
import type { PointReader } from './reader.ts';
import { readKeyHeader } from './rewrap.ts';

/** What was found, in one line; `error` says what is wrong. */
export interface EncryptionFinding {
  passed: boolean;
  details: string;
  error?: string;
}

/**
 * Checks that a point is sealed as the policy demands: its first segment opens with its own key, and that key is
 * wrapped for exactly the given age recipients. Throws Corrupt when the segment does not open, ObjectMissing.
 */
export async function assertSealedFor(point: PointReader, recipients: string[]): Promise<EncryptionFinding> {
  const artifact = await point.artifact();
  await artifact.read(0, Math.min(1, artifact.plainBytes));
  const named = point.backup.encryption.recipients;
  // One stanza per recipient.
  const stanzas = readKeyHeader(await readBytes(point.store, point.prefix + keyName))?.stanzas ?? 0;
  const details = `AES-256-GCM, ${artifact.segments} segments; key wrapped for ${stanzas} recipients`;
  const missing = recipients.filter((r) => !named.includes(r));
  const extra = named.filter((r) => !recipients.includes(r));
  const errors = [
    ...(missing.length > 0 ? [`not sealed for ${missing.join(', ')}`] : []),
    ...(extra.length > 0 ? [`sealed for ${extra.join(', ')}, whom the policy does not name`] : []),
    ...(stanzas === named.length ? [] : [`the key is wrapped ${stanzas} times, ${named.length} recipients are named`]),
  ];
  return errors.length === 0 ? { passed: true, details } : { passed: false, details, error: errors.join('; ') };
}
