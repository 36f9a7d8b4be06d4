import type { SealOutcome } from '../activities/host.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { formatBytes, formatProgress } from '../policies/progress.ts';
import type { Level, Validation } from '../policies/recovery-point.ts';
import type { JobState } from '../policies/search-attributes.ts';
import type { RuleVerdict } from '../policies/three-two-one.ts';
import type { BackupInput, BackupResult, BackupStatus, CopyOutcome, Leftovers, Phase } from './contracts.ts';
import type { Labels } from './labels.ts';

type CopyState = 'waiting' | 'uploading' | 'verifying' | CopyOutcome['state'];

/** What one backup job knows of itself: phases with their times, and the words for the Web UI. No Temporal in here. */
export class BackupJob {
  readonly startedAt: string;
  /** Called after every change. */
  onChange: () => void = () => {};
  private readonly now: () => number;
  private readonly finished: Phase[] = [];
  private current: BackupStatus['phase'] = 'plan';
  private plan: BackupPlan | null = null;
  private seal: SealOutcome | null = null;
  private checksPassed = 0;
  private readonly copyStates = new Map<string, CopyState>();
  private position: number | null = null;
  private waitsBecause: string | null = null;
  private opening: string | null = null;
  private waitingSince: number | null = null;
  private readonly warnings: string[] = [];
  private left: Leftovers = { staging: false, copies: [] };
  private error: string | null = null;
  private ended: JobState | null = null;
  private readonly asked: Required<BackupInput>;

  /** @param now milliseconds since 1970; in a workflow, its own deterministic clock */
  constructor(asked: Required<BackupInput>, now: () => number) {
    this.asked = asked;
    this.now = now;
    this.startedAt = new Date(now()).toISOString();
  }

  get source(): string {
    return this.asked.source;
  }

  get pointId(): string | null {
    return this.plan?.pointId ?? null;
  }

  get host(): string | null {
    return this.plan?.host ?? null;
  }

  /** The level that is made; before plan and host say it, the one that was asked for. */
  get level(): Level {
    return this.seal?.level ?? this.plan?.level ?? this.asked.level;
  }

  /** Runs a phase and keeps how long it took, also when it fails. */
  async phase<T>(name: Phase['name'], body: () => Promise<T>): Promise<T> {
    const from = this.now();
    this.current = name;
    this.onChange();
    try {
      return await body();
    } finally {
      this.finished.push({ name, durationMs: this.now() - from });
    }
  }

  planned(plan: BackupPlan): void {
    this.plan = plan;
    this.waitingSince = this.now();
    this.current = 'slot';
    for (const copy of plan.copies) this.copyStates.set(copy.name, 'waiting');
    this.onChange();
  }

  /** Asks for a slot once more. */
  asking(): void {
    this.waitingSince = this.now();
    this.current = 'slot';
    this.onChange();
  }

  /** The source's hours are over until then; null once they have begun. */
  opensAt(time: string | null): void {
    this.opening = time;
    this.onChange();
  }

  queued(position: number, why: string | null): void {
    this.position = position;
    this.waitsBecause = why;
    this.onChange();
  }

  granted(): void {
    this.position = null;
    this.waitsBecause = null;
    if (this.waitingSince !== null) this.finished.push({ name: 'slot', durationMs: this.now() - this.waitingSince });
    this.waitingSince = null;
  }

  sealed(seal: SealOutcome): void {
    this.seal = seal;
    this.onChange();
  }

  validated(validation: Validation): void {
    this.checksPassed = validation.checks.filter((c) => c.passed).length;
    this.onChange();
  }

  copyState(copy: string, state: CopyState): void {
    this.copyStates.set(copy, state);
    this.onChange();
  }

  /** Something a person should know of, though the job goes on. */
  warn(text: string): void {
    this.warnings.push(text);
    this.onChange();
  }

  /** What could not be removed for now. */
  leaves({ staging, copies }: Partial<Leftovers>): void {
    this.left = {
      staging: staging ?? this.left.staging,
      copies: [...this.left.copies, ...(copies ?? [])],
    };
    this.onChange();
  }

  leftovers(): Leftovers {
    return this.left;
  }

  failed(message: string, outcome: 'failed' | 'cancelled'): void {
    this.error = message;
    this.ended = outcome;
    this.current = 'failed';
    this.onChange();
  }

  concluding(outcome: BackupResult['outcome']): void {
    this.ended = outcome;
    this.current = 'notify';
    this.onChange();
  }

  done(): void {
    this.current = 'done';
    this.onChange();
  }

  labels(): Labels {
    const { source, classes } = this.plan ?? this.asked;
    const isPaused = this.current === 'window' && this.plan !== null;
    const status = this.ended ?? (isPaused ? 'paused' : stateOf(this.current));
    return { source, level: this.level, classes, status };
  }

  phases(): Phase[] {
    return [...this.finished];
  }

  progressLine(): string {
    return formatProgress({
      backedUpBytes: this.seal?.sourceBytes ?? 0,
      validated: this.checksPassed,
      replicating: this.replication(),
    });
  }

  status(): BackupStatus {
    return {
      source: this.source,
      pointId: this.pointId,
      phase: this.current,
      progressLine: this.progressLine(),
      phases: this.phases(),
      queuePosition: this.position,
      queueReason: this.waitsBecause,
      pausedUntil: this.opening,
    };
  }

  /** For the Temporal Web UI (Markdown), which runs lines together that no empty one parts. */
  markdown(): string {
    const lines = [this.progressLine()];
    lines.push(`**Phase**: ${this.current}${this.position === null ? '' : ` (place ${this.position} in the queue)`}`);
    if (this.waitsBecause !== null) lines.push(`**Waits** while only critical sources get slots: ${this.waitsBecause}`);
    if (this.opening !== null) lines.push(`**${this.pauseWords()}** until ${this.opening}`);
    if (this.plan) lines.push(`**Recovery point**: \`${this.plan.pointId}\` (${this.level})`);
    if (this.seal) {
      lines.push(`**Sealed**: ${formatBytes(this.seal.sourceBytes)} → ${formatBytes(this.seal.storedBytes)}`);
    }
    const copies = [...this.copyStates].map(([copy, state]) => `${copy} ${state}`);
    if (copies.length > 0) lines.push(`**Copies**: ${copies.join(' · ')}`);
    for (const note of this.notes()) lines.push(`> ${note}`);
    if (this.error !== null) lines.push(`**Failed**: ${this.error}`);
    return lines.join('\n\n');
  }

  result(plan: BackupPlan, copies: CopyOutcome[], rule: RuleVerdict): BackupResult {
    const whole = rule.satisfied && copies.every((c) => c.state === 'verified');
    return {
      pointId: plan.pointId,
      source: plan.source,
      level: this.level,
      outcome: whole ? 'succeeded' : 'partial',
      sourceBytes: this.seal?.sourceBytes ?? 0,
      storedBytes: this.seal?.storedBytes ?? 0,
      checksPassed: this.checksPassed,
      copies,
      rule,
      phases: this.phases(),
      warnings: this.notes(),
    };
  }

  private notes(): string[] {
    return [...(this.plan?.notes ?? []), ...(this.seal?.warnings ?? []), ...this.warnings];
  }

  private replication(): string {
    const states = [...this.copyStates.values()];
    const verified = states.filter((s) => s === 'verified').length;
    const failed = states.filter((s) => s === 'failed').length;
    const paused = this.opening === null || this.plan === null ? '' : `paused until ${this.opening}, `;
    if (states.every((s) => s === 'waiting')) return `${paused}waiting`;
    return `${paused}${verified}/${states.length} copies verified${failed > 0 ? `, ${failed} failed` : ''}`;
  }

  private pauseWords(): string {
    return this.current === 'window'
      ? 'Waits for the hours in which it may run,'
      : 'Nothing is sent outside of the hours in which it may run,';
  }
}

function stateOf(phase: BackupStatus['phase']): JobState {
  switch (phase) {
    case 'plan':
    case 'window':
      return 'planning';
    case 'slot':
      return 'waiting';
    case 'seal':
    case 'validate':
    case 'upload':
      return 'running';
    default:
      return 'finishing';
  }
}
