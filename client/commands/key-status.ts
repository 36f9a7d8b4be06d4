import type { WalInCopies } from '../../engine/keys/index.ts';
import type { Store } from '../../engine/stores/index.ts';
import { failureTypes, isFailure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { keyName, pointPrefix } from '../../policies/recovery-point.ts';
import { type KeyCoverage, keyCoverage, type PointKeys, type WalCoverage, walCoverage } from '../../policies/rekey.ts';
import type { Context } from '../context.ts';
import { copyPolicy, sourceNamed } from '../names.ts';
import { table } from '../table.ts';

interface StatusRow extends KeyCoverage {
  source: string;
  copy: string;
  /** Of its archived WAL; null where none lies. */
  wal: WalCoverage | null;
  /** What lies there but does not count. */
  problems: string[];
}

/** Who opens how many points, by source and copy, by what the wrapped keys say; nothing is opened for it. */
export async function keyStatus(
  context: Context,
  options: { sources: string[]; copy?: string },
): Promise<number | undefined> {
  const policy = await context.policy();
  const { recipients } = policy.keys;
  const sources = options.sources.length > 0 ? options.sources.map((s) => sourceNamed(policy, s)) : policy.sources;
  const copies = options.copy === undefined ? policy.copies : [copyPolicy(policy, options.copy)];
  const rows: StatusRow[] = [];
  const unread: { copy: string; error: string }[] = [];
  for (const { name: copy } of copies) {
    try {
      for (const { name } of sources) rows.push(await statusOf(context, policy, name, copy));
    } catch (error) {
      if (!isFailure(error)) throw error;
      unread.push({ copy, error: error.message });
    }
  }
  const { out } = context;
  const count = (n: number, colour: 'red' | 'yellow') =>
    n === 0 ? out.paint('green', 'none') : out.paint(colour, String(n));
  out.result({ recipients, status: rows, unread }, () =>
    [
      table(
        ['source', 'copy', 'points', 'opened by', 'lacking', 'former'],
        rows.map((r) => [
          r.source,
          r.copy,
          String(r.points),
          r.opens.map((o) => `${short(o.recipient)}${o.present ? '' : ' (former)'}: ${o.points}`).join('\n'),
          count(r.lacking.length, 'red'),
          count(r.former.length, 'yellow'),
        ]),
      ),
      ...walTable(rows, count),
      ...problemLines(rows, out.paint('red', '✗')),
      ...unread.map((u) => `${out.paint('red', '✗')} ${u.copy}: ${u.error}`),
      ...(rows.some((r) => r.lacking.length > 0 || (r.wal?.lacking ?? 0) > 0)
        ? ['Lacking: what a present recipient does not open. "backupctl key rotate" wraps their keys anew.']
        : []),
      ...(rows.some((r) => r.former.length > 0 || (r.wal?.former ?? 0) > 0)
        ? ['Former: what somebody opens who is no recipient any more. "backupctl key revoke" takes those keys away.']
        : []),
      ...(rows.some((r) => (r.wal?.former ?? 0) > 0)
        ? ['WAL that was sealed for a former recipient opens for him until it expires: its key is in its signed line.']
        : []),
    ].join('\n'),
  );
  return unread.length > 0 ? failureTypes.StoreUnreachable.exitCode : undefined;
}

async function statusOf(context: Context, policy: Policy, source: string, copy: string): Promise<StatusRow> {
  const { publishedIn } = await import('../../engine/catalog/index.ts');
  const { readWrappedKey } = await import('../../engine/artifact/index.ts');
  const store = await context.store(copy);
  const { trusted, recipients } = policy.keys;
  const problems: string[] = [];
  const points: PointKeys[] = [];
  const onProblem = (problem: string) => problems.push(problem);
  await store.check();
  for await (const { backup, keys } of publishedIn({ store, trusted, below: `${source}/`, onProblem })) {
    const prefix = pointPrefix(source, backup.id);
    const found = new Set<string>(keys.includes(keyName) ? backup.encryption.recipients : []);
    for (const name of keys.filter((k) => k !== keyName)) {
      for (const recipient of (await readWrappedKey({ store, prefix, backup }, name)).recipients) found.add(recipient);
    }
    points.push({ pointId: backup.id, recipients: [...found] });
  }
  const wal = await walOf(store, source, policy, onProblem);
  return { source, copy, ...keyCoverage(points, recipients), wal, problems };
}

/** Small requests at once: this hides the way to the store. */
const ahead = 16;

async function walOf(
  store: Store,
  source: string,
  { keys: { trusted, recipients } }: Policy,
  onProblem: (problem: string) => void,
): Promise<WalCoverage | null> {
  const { recipientsOfWal, walInCopies } = await import('../../engine/keys/index.ts');
  const objects = new Map<string, number>();
  const look = async (object: WalInCopies) => {
    try {
      const names = (await recipientsOfWal({ source, object, trusted })).sort().join(' ');
      objects.set(names, (objects.get(names) ?? 0) + 1);
    } catch (error) {
      if (!isFailure(error, ...ofTheObject)) throw error;
      onProblem(error.message);
    }
  };
  const fail = (_: Store, error: unknown) => {
    throw error;
  };
  let batch: WalInCopies[] = [];
  for await (const object of walInCopies([store], source, { onFailure: fail })) {
    batch.push(object);
    if (batch.length < ahead) continue;
    await Promise.all(batch.map(look));
    batch = [];
  }
  await Promise.all(batch.map(look));
  const sets = [...objects].map(([names, count]) => ({ recipients: names.split(' '), objects: count }));
  return sets.length === 0 ? null : walCoverage(sets, recipients);
}

/** Failures that say something of the object, not of its store. */
const ofTheObject = ['Corrupt', 'SignatureInvalid', 'FormatUnsupported', 'ObjectMissing'] as const;

function walTable(rows: StatusRow[], count: (n: number, colour: 'red' | 'yellow') => string): string[] {
  const archived = rows.flatMap(({ source, copy, wal }) => {
    if (!wal) return [];
    const opens = wal.opens.map((o) => `${short(o.recipient)}${o.present ? '' : ' (former)'}: ${o.objects}`);
    return [
      [source, copy, String(wal.objects), opens.join('\n'), count(wal.lacking, 'red'), count(wal.former, 'yellow')],
    ];
  });
  return archived.length === 0 ? [] : [table(['source', 'copy', 'WAL', 'opened by', 'lacking', 'former'], archived)];
}

const problemsShown = 20;

function problemLines(rows: StatusRow[], mark: string): string[] {
  const all = rows.flatMap(({ copy, problems }) => problems.map((problem) => `${mark} ${copy}: ${problem}`));
  const more = all.length - problemsShown;
  if (more <= 0) return all;
  return [...all.slice(0, problemsShown), `… and ${more} more, which --json shows.`];
}

/** Enough to tell recipients apart. */
function short(recipient: string): string {
  return recipient.length <= 20 ? recipient : `${recipient.slice(0, 12)}…${recipient.slice(-6)}`;
}
