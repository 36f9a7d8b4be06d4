import { randomBytes } from 'node:crypto';
import { createWalObject, type SigningKey } from '../../../engine/artifact/index.ts';
import { lsnText } from '../../../policies/wal.ts';
import { walRangeKey } from '../../../policies/wal-bundle.ts';

export interface SealWalHere {
  /** A store's folder. */
  root: string;
  source: string;
  recipients: string[];
  signingKey: SigningKey;
  start?: bigint;
}

export const walRangeBytes = 8_192;

/** Seals a range of WAL, one page of zeros as they follow a switch of segments, and returns its key. */
export async function sealWal({
  root,
  source,
  recipients,
  signingKey,
  start = 0x1000000n,
}: SealWalHere): Promise<string> {
  const unique = randomBytes(4).toString('hex');
  const end = start + BigInt(walRangeBytes);
  const until = '2026-01-02T03:04:05.678Z';
  const writer = await createWalObject({ root, id: `${source}-${start}-${unique}`, recipients, signingKey });
  await writer.write(Buffer.alloc(walRangeBytes));
  return writer.finish((sealed) => ({
    key: walRangeKey(source, { timeline: 1, start, end, until }, unique),
    header: {
      ...sealed,
      kind: 'range',
      source: { name: source, host: 'local' },
      systemIdentifier: '7',
      timeline: 1,
      startLsn: lsnText(start),
      endLsn: lsnText(end),
      segmentBytes: 16 * 1024 * 1024,
      serverMajor: 15,
      until,
      transactions: { count: 0, firstAt: null, lastAt: null, xids: null },
      restorePoints: [],
      software: 'tests',
    },
  }));
}
