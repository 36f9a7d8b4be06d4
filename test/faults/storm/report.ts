import { type Kill, tally } from './storm.ts';

export interface Round {
  seed: number;
  kills: Kill[];
  /** Of each job: its kind, and how it ended. */
  endings: [kind: string, ending: string][];
  problems: string[];
}

export interface Soak {
  startedAt: Date;
  seconds: number;
  seed: number;
  rounds: Round[];
  machine: string;
}

/** The page docs/soak.md. */
export function soakReport({ startedAt, seconds, seed, rounds, machine }: Soak): string {
  const kills = rounds.flatMap((r) => r.kills);
  const problems = rounds.flatMap((r) => r.problems.map((p) => `round ${r.seed}: ${p}`));
  const counts = tally(kills);
  const phases = [...new Set([...counts.values()].flatMap((row) => [...row.keys()]))].toSorted();
  const cell = (component: string, phase: string) => counts.get(component)?.get(phase) ?? 0;
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  const components = [...counts.keys()].toSorted();
  const endings = Map.groupBy(
    rounds.flatMap((r) => r.endings),
    ([kind, ending]) => `${kind} ${ending.startsWith('failed') ? 'failed' : ending}`,
  );
  const failures = Map.groupBy(
    rounds.flatMap((r) => r.endings).filter(([, ending]) => ending.startsWith('failed')),
    ([kind, ending]) => `${kind} ${ending.replaceAll(/\S*[0-9a-f]{8,}\S*/g, '…').slice(0, 160)}`,
  );
  const row = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    '# Soak: SIGKILL at random moments',
    '',
    `Written by \`npm run soak -- --kills ${kills.length} --seed ${seed} --write docs/soak.md\`.`,
    '',
    `- began ${startedAt.toISOString()}, took ${Math.round(seconds / 60)} minutes`,
    `- machine: ${machine}`,
    `- ${kills.length} kills in ${rounds.length} rounds, seeds ${rounds[0]?.seed} to ${rounds.at(-1)?.seed}; after each round every point was verified in every copy, samples restored and compared, and everything looked through for what was left`,
    `- result: ${problems.length === 0 ? '0 points lost, doubled, or called good that are not; 0 leftovers; second runs changed nothing' : `${problems.length} problems`}`,
    ...problems.map((problem) => `  - ${problem}`),
    '',
    '## Kills, by what was killed and what the jobs were doing',
    '',
    row(['', ...phases, 'all']),
    row(['---', ...phases.map(() => '---:'), '---:']),
    ...components.map((c) => row([c, ...phases.map((p) => cell(c, p)), sum(phases.map((p) => cell(c, p)))])),
    row(['all', ...phases.map((p) => sum(components.map((c) => cell(c, p)))), kills.length]),
    '',
    '## How the jobs ended',
    '',
    ...[...endings].toSorted().map(([name, all]) => `- ${all.length} × ${name}`),
    ...(failures.size === 0 ? [] : ['', 'Those that failed said why, and left nothing:', '']),
    ...[...failures].toSorted().map(([why, all]) => `- ${all.length} × ${why}`),
    '',
  ].join('\n');
}
