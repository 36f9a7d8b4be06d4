import { setTimeout } from 'node:timers/promises';
import { seededRandom } from '../../policies/random.ts';
import { type Attempt, attemptsOf, type Ending, type Job, type Kind, type Phase, startJob } from './jobs.ts';
import { killComponent, type Source, sources, type World } from './world.ts';

/** What will be killed when: all of it follows from the seed. */
export interface Aim {
  phase: AimedPhase;
  component: string;
  /** Of the source whose job is started for it, when none is under way. */
  source: Source;
  /** How long after the phase was seen, as part of the time that it usually takes. */
  part: number;
}

export interface Kill extends Aim {
  /** What the jobs were doing when it was killed, as far as Temporal had told. Empty: nothing, or nothing was seen. */
  met: Phase[];
}

export interface Storm {
  kills: Kill[];
  jobs: (Job & { ending: Ending })[];
}

/** Phases that are aimed at: the kind of job that has it, how long it takes here, and what takes part in it. */
const phases = {
  seal: ['backup', 1_500, ['backup worker', "source's PostgreSQL", 'Temporal', 'coordination worker']],
  send: ['backup', 500, ['transfer worker', 'backup worker', 'S3 east', 'S3 west', 'Temporal']],
  validate: ['backup', 2_500, ['validation worker', 'Temporal', 'coordination worker', "source's PostgreSQL"]],
  upload: ['backup', 400, ['transfer worker', 'S3 east', 'S3 west', 'Temporal', 'coordination worker']],
  'read back': ['backup', 200, ['transfer worker', 'S3 east', 'S3 west', 'Temporal', 'coordination worker']],
  publish: ['backup', 150, ['transfer worker', 'S3 east', 'S3 west', 'Temporal', 'backup worker']],
  'plan and record': [
    'backup',
    100,
    ['coordination worker', "catalog's PostgreSQL", 'Temporal', 'S3 east', 'backup worker'],
  ],
  prune: ['backup', 150, ['retention worker', 'S3 east', 'S3 west', 'Temporal', "catalog's PostgreSQL"]],
  restore: [
    'restore',
    1_000,
    ['recovery worker', "catalog's PostgreSQL", 'Temporal', 'S3 east', 'coordination worker'],
  ],
  expire: ['retention', 300, ['retention worker', 'S3 east', 'S3 west', 'Temporal', "catalog's PostgreSQL"]],
} as const satisfies Partial<Record<Phase, [Kind, number, string[]]>>;

export type AimedPhase = keyof typeof phases;
const aimed = Object.keys(phases) as AimedPhase[];

/** So many jobs of a kind at once: some wait for a killed worker to be missed while others go on. */
const jobsAtOnce: Record<Kind, number> = { backup: 6, restore: 2, retention: 1 };

/** So many of them at least are not waiting for that; a backup goes through most phases, and gives expiry its work. */
const atWork: Record<Kind, number> = { backup: 2, restore: 1, retention: 1 };

/** What is large, or takes long to restore for its test, comes less often. */
const oftenSmall: readonly Source[] = [...sources, 'shop', 'tree', 'tree'];

/** Every phase equally often; of the components first those that take part in it, then, once in a while, any. */
export function planStorm(seed: number, kills: number, components: string[]): Aim[] {
  const random = seededRandom(seed);
  const bags = new Map<AimedPhase, string[]>();
  const turn: AimedPhase[] = [];
  return Array.from({ length: kills }, () => {
    if (turn.length === 0) turn.push(...random.shuffle(aimed));
    const phase = turn.shift() ?? 'seal';
    const bag = bags.get(phase) ?? [];
    bags.set(phase, bag);
    if (bag.length === 0) bag.push(...random.shuffle(phases[phase][2]), random.pick(components));
    const source = phase === 'send' ? 'films' : random.pick(oftenSmall);
    return { phase, component: bag.shift() ?? '', source, part: random.real() };
  });
}

/** When a phase does not come for so long, the kill is done all the same, and is counted where it hit. */
const patienceMs = 60_000;

/** Often enough to meet a phase. Every look asks the server about every job, and takes processors away from the jobs. */
const lookEveryMs = (usualMs: number) => Math.min(100, usualMs / 4);

/** A point of every source, for what needs one. */
export async function backUpAll(world: World): Promise<Set<string>> {
  const jobs = await Promise.all(sources.map((source) => startJob(world, 'backup', source)));
  const ids = new Set<string>();
  for (const { source, ended } of jobs) {
    const ending = await ended;
    if (!('result' in ending)) throw new Error(`${source} cannot be backed up: ${ending.failure}`);
    if ('pointId' in ending.result) ids.add(ending.result.pointId);
  }
  return ids;
}

/**
 * Keeps backups, restores and expiry going, and kills a component in each of the moments that are aimed at. Resolves once
 * every job has ended, and everything was started again.
 *
 * @param say told of each kill
 */
export async function storm(world: World, aims: Aim[], say: (line: string) => void = () => {}): Promise<Storm> {
  const jobs: Job[] = [];
  const kills: Kill[] = [];
  /** Attempts whose worker is dead, which Temporal does not know yet. */
  const dead = new Set<string>();
  const start = async (kind: Kind, source: Source) => {
    // For a dump, a database would have to be made on a server that is being killed.
    const wanted = kind === 'restore' && source === 'shop' ? 'tree' : source;
    jobs.push(await startJob(world, kind, wanted));
  };
  const running = (kind: Kind) => jobs.filter((job) => job.kind === kind && job.ending === null);
  const look = async (): Promise<Attempt[]> => {
    const open = jobs.filter((job) => job.ending === null);
    const found = await Promise.all(open.map((job) => attemptsOf(world, job)));
    return found.flat().filter(({ key }) => !dead.has(key));
  };

  for (const aim of aims) {
    const [kind, usualMs] = phases[aim.phase];
    const until = performance.now() + patienceMs;
    let seen: Attempt[] = [];
    const isThere = () => seen.some(({ phase }) => phase === aim.phase);
    /** Resolves once the phase is seen. */
    const phaseSeen = async () => {
      for (;;) {
        seen = await look();
        if (isThere() || performance.now() > until) return;
        const live = (of: Kind) =>
          running(of).filter(({ workflowId }) => seen.some(({ key }) => key.startsWith(`${workflowId} `))).length;
        for (const wanted of new Set<Kind>([kind, 'backup'])) {
          if (live(wanted) < atWork[wanted] && running(wanted).length < jobsAtOnce[wanted])
            await start(wanted, aim.source);
        }
        await setTimeout(lookEveryMs(usualMs));
      }
    };
    // On a machine that is quick today it may be over too soon: then sooner, the next time.
    for (let waitMs = aim.part * usualMs; ; waitMs /= 2) {
      await phaseSeen();
      await setTimeout(waitMs);
      seen = await look();
      if (isThere() || performance.now() > until) break;
    }
    const component = world.components.find(({ name }) => name === aim.component);
    if (!component) throw new Error(`there is no component ${aim.component}`);
    while (!(await killComponent(world, component))) await setTimeout(50);
    for (const { key, role } of seen) if (`${role} worker` === component.name) dead.add(key);
    const met = [...new Set(seen.map(({ phase }) => phase))];
    kills.push({ ...aim, met });
    say(
      `${kills.length}/${aims.length} ${aim.component} while ${met.join(', ') || 'nothing was seen'} (aimed at ${aim.phase})`,
    );
  }
  const ended: Storm['jobs'] = [];
  for (const job of jobs) ended.push({ ...job, ending: await job.ended });
  return { kills, jobs: ended };
}

/** How often each component was killed in each phase: what was aimed at where that was met, else what was. */
export function tally(kills: Kill[]): Map<string, Map<string, number>> {
  const counts = new Map<string, Map<string, number>>();
  for (const { component, phase, met } of kills) {
    const hit = met.includes(phase) ? phase : (met[0] ?? 'between phases');
    const row = counts.get(component) ?? new Map<string, number>();
    counts.set(component, row.set(hit, (row.get(hit) ?? 0) + 1));
  }
  return counts;
}
