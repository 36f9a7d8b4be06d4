import { formatBytes, formatDuration } from '../../policies/progress.ts';
import type { RuleVerdict } from '../../policies/three-two-one.ts';

/** How a backup job ended: what people are told. No secrets. */
export interface NotificationEvent {
  workflowId: string;
  source: string;
  level: string;
  pointId: string | null;
  outcome: 'succeeded' | 'partial' | 'failed' | 'cancelled';
  startedAt: string;
  finishedAt: string;
  error: string | null;
  /** Null when it failed. */
  result: {
    sourceBytes: number;
    storedBytes: number;
    checksPassed: number;
    copies: { copy: string; state: string; error: string | null }[];
    rule: RuleVerdict;
    warnings: string[];
  } | null;
  /** What could not be removed yet: it goes by itself when its place is there again. */
  leftovers: { staging: boolean; copies: string[] };
}

/** Something that a person must know of at once, and that no job's end tells. No secrets. */
export interface IncidentEvent {
  incident: { key: string; severity: 'critical' | 'warning'; source: string | null; summary: string; next: string };
  /** ISO-8601 */
  at: string;
}

/** Where something was left, in words. */
export function placesOf({ staging, copies }: NotificationEvent['leftovers']): string[] {
  return [...(staging ? ["the host's staging disk"] : []), ...copies];
}

export interface Words {
  kind: 'success' | 'failure';
  title: string;
  lines: string[];
}

/** Says what happened, to what, and what to do next. */
export function wordsFor(event: NotificationEvent | IncidentEvent): Words {
  if ('incident' in event) {
    const { severity, source, summary, next } = event.incident;
    const mark = severity === 'critical' ? '🚨' : '⚠️';
    return {
      kind: 'failure',
      title: `${mark} ${source ?? 'Backups'}: something needs a person`,
      lines: [summary, `Next: ${next}`],
    };
  }
  const took = formatDuration(Date.parse(event.finishedAt) - Date.parse(event.startedAt));
  const places = placesOf(event.leftovers);
  const left = places.length === 0 ? null : `Left behind until it can be removed: on ${places.join(', ')}`;
  if (!event.result) {
    return {
      kind: 'failure',
      title: `❌ Backup of ${event.source} ${event.outcome === 'cancelled' ? 'was cancelled' : 'failed'}`,
      lines: [
        `Reason: ${event.error ?? 'none given'}`,
        left === null ? `After: ${took}; nothing half-done was left behind.` : `After: ${took}`,
        ...(left === null ? [] : [left]),
        `Next: mend the cause, then run: backupctl backup run ${event.source} --wait`,
      ],
    };
  }
  const { result } = event;
  const copies = result.copies
    .map((c) => `${c.copy} ${c.state === 'verified' ? '✓' : `✗ (${c.error ?? 'failed'})`}`)
    .join(', ');
  const lines = [
    `Recovery point: ${event.pointId} (${event.level})`,
    `Size: ${formatBytes(result.sourceBytes)} → ${formatBytes(result.storedBytes)} in ${took}`,
    `Validated: ${result.checksPassed} checks passed`,
    `Copies: ${copies}`,
    `3-2-1: ${result.rule.satisfied ? 'kept' : `BREACHED: ${result.rule.breaches.join('; ')}`}`,
    ...(left === null ? [] : [left]),
    ...result.warnings.slice(0, 10).map((w) => `Note: ${w}`),
  ];
  if (event.outcome === 'succeeded')
    return {
      kind: 'success',
      title: `✅ Backup of ${event.source} succeeded`,
      lines,
    };
  lines.push(
    `Next: mend the copy that failed (backupctl doctor), then run: backupctl backup run ${event.source} --wait`,
  );
  return {
    kind: 'failure',
    title: `⚠️ Backup of ${event.source} stands, but not as promised`,
    lines,
  };
}
