import type { RunningS3 } from '../scripts/stack/types.ts';
import type { Cost } from './measure.ts';

/** What every benchmark is given. */
export interface BenchContext {
  dir: string;
  rounds: number;
  identity: string;
  recipient: string;
  s3: RunningS3;
  freshBucket(name: string): Promise<string>;
  /** Bytes that the server keeps for a bucket. */
  storedIn(bucket: string): Promise<number>;
  bytesIn(folder: string): Promise<number>;
  /** Adds what the S3 server was asked for meanwhile. */
  counted(run: () => Promise<Cost>): Promise<Cost>;
}

/** The heads of `costCells`. */
export const costHead = ['wall s', 'CPU s', 'largest process MiB', 'GETs', 'PUTs'];

/** Wall, CPU, memory, GETs and PUTs as a table shows them. */
export function costCells({ wallS, cpuS, rssMiB, requests }: Cost): (string | number)[] {
  return [wallS.toFixed(1), cpuS.toFixed(1), rssMiB, requests?.gets ?? '', requests?.puts ?? ''];
}

export type Facts = Record<string, number>;

/** The facts that bench/ours.ts printed last. */
export function factsOf(cost: Cost): Facts {
  return JSON.parse(cost.output.trim().split('\n').at(-1) ?? '{}');
}

/** Where the time of a backup went, by its facts. */
export function phasesText({ startedMs = 0, sealedMs = 0, sentMs = 0, joinedMs = 0, publishedMs = 0 }: Facts): string {
  const s = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return `It started within ${s(startedMs)}; sealing took ${s(sealedMs)}, in which the artifact was sent as it grew; its last parts ${s(sentMs)}; the S3 server's joining of the parts ${s(joinedMs)}; the other objects ${s(publishedMs)}.`;
}

/**
 * A folder of its own for each restore, of which none is removed before the end: ext4 makes files slowly for minutes after
 * many were removed (it avoids inodes that were freed recently), which would be measured instead.
 */
export function freshFolders(stem: string): () => string {
  let serial = 0;
  return () => `${stem}-${++serial}`;
}

/** A Markdown table. */
export function table(head: string[], rows: (string | number)[][]): string {
  const line = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

export function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

export function ratio(a: number, b: number): string {
  return (a / b).toFixed(2);
}
