import { formatBytes } from '../policies/progress.ts';
import type { BackupStatus } from '../workflows/contracts.ts';
import type { Output } from './output.ts';

/** One thing under way, as its heartbeat tells it. */
export interface Bar {
  name: string;
  bytesDone: number;
  /** 0 when nobody knows. */
  bytesTotal: number;
  entriesDone: number;
}

export interface ProgressView {
  /** Shows how it stands now: redrawn on a terminal, a line for each change of `line` elsewhere. */
  show(line: string, bars: Bar[]): void;
  /** Leaves the terminal as it was. */
  end(): void;
}

const barWidth = 24;

export function createProgressView(out: Output): ProgressView {
  let drawn = 0;
  let last = '';
  const clear = () => {
    if (drawn > 0) out.draw(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  return {
    show(line, bars) {
      if (!out.live) {
        if (line !== last) out.note(line);
        last = line;
        return;
      }
      clear();
      const lines = [line, ...bars.map(barLine)].map((l) => cut(l, out.columns - 1));
      out.draw(`${lines.join('\n')}\n`);
      drawn = lines.length;
    },
    end: clear,
  };
}

/** How a backup stands: its phase, the line of mission row G1, and what it waits for. */
export function jobLine({ phase, progressLine, queuePosition, queueReason, pausedUntil }: BackupStatus): string {
  const place = queuePosition === null ? '' : ` | place ${queuePosition} in the queue`;
  const why = queueReason ? `, while only critical sources get slots: ${queueReason}` : '';
  const hours = phase === 'window' && pausedUntil ? ` | its hours begin at ${pausedUntil}` : '';
  return `${phase.padEnd(9)} ${progressLine}${place}${why}${hours}`;
}

/** `  seal  [██████░░░░]  42 %  1.2 GiB of 2.9 GiB, 812 entries` */
export function barLine({ name, bytesDone, bytesTotal, entriesDone }: Bar): string {
  const share = bytesTotal > 0 ? Math.min(1, bytesDone / bytesTotal) : null;
  const full = Math.round((share ?? 0) * barWidth);
  const bar =
    share === null
      ? ''
      : `[${'█'.repeat(full)}${'░'.repeat(barWidth - full)}] ${String(Math.floor(share * 100)).padStart(3)} %  `;
  const size = bytesTotal > 0 ? `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}` : formatBytes(bytesDone);
  return `  ${name.padEnd(12)} ${bar}${size}${entriesDone > 0 ? `, ${entriesDone} entries` : ''}`;
}

/** To the terminal's width, so that one line stays one line. */
function cut(text: string, columns: number): string {
  const letters = [...text];
  return letters.length <= columns ? text : `${letters.slice(0, Math.max(0, columns - 1)).join('')}…`;
}
