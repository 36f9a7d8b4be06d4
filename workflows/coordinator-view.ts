import type { AdmissionState } from '../policies/admission.ts';
import type { CoordinatorStatus } from './contracts.ts';

/** What the coordinator answers to `status` and to its updates. */
export function statusOf(state: AdmissionState): CoordinatorStatus {
  return {
    mode: state.mode,
    modeSetBy: state.modeSetBy,
    slots: state.slots,
    holders: state.holders,
    queue: state.queue.map(({ workflowId, runId, source, critical, priority, since }) => ({
      workflowId,
      runId,
      source,
      critical,
      priority,
      since,
    })),
    leasesFreed: state.leasesFreed,
    granted: state.granted,
    strains: state.strains,
  };
}

/** Rows of the queue that the Web UI shows. */
const shownWaiting = 50;

/** For the Temporal Web UI (Markdown). */
export function describe(state: AdmissionState): string {
  const by = state.modeSetBy ? ` (${state.modeSetBy.operator}: ${state.modeSetBy.reason})` : '';
  const counts = `${state.holders.length} of ${state.slots} slots taken · ${state.queue.length} waiting`;
  const lines = [`**${state.mode}**${by} · ${counts}`, ''];
  for (const { why, since, until, lifted } of state.strains) {
    const over = until === null ? '' : `, over at ${until} unless it is told again`;
    const what = lifted ? `not counted (${lifted.operator}: ${lifted.reason})` : '**only critical sources get slots**';
    lines.push(`- ⚠ ${what}: ${why} (since ${since}${over})`);
  }
  for (const h of state.holders) lines.push(`- ▶ ${h.source} since ${h.grantedAt} (\`${h.workflowId}\`)`);
  for (const [i, w] of state.queue.slice(0, shownWaiting).entries()) {
    lines.push(`- ${i + 1}. ${w.source}${w.critical ? ' **critical**' : ''}, waiting since ${w.since}`);
  }
  if (state.queue.length > shownWaiting) lines.push(`- … and ${state.queue.length - shownWaiting} more`);
  lines.push('', `${state.granted} granted, ${state.leasesFreed} leases taken back`);
  return lines.join('\n');
}
