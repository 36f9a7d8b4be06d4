import { Failure, failureTypes } from '../../policies/failure.ts';
import type { Context } from '../context.ts';
import { copyPolicy } from '../names.ts';
import { facts } from '../table.ts';

/** Makes the catalog again. Problems are named; they do not stop it. */
export async function catalogRebuild(
  context: Context,
  { from, all }: { from?: string; all: boolean },
): Promise<number | undefined> {
  if (all === (from !== undefined)) {
    throw new Failure('UsageInvalid', 'Name what to rebuild the catalog from: one copy, or all of them.', {
      next: 'backupctl catalog rebuild --from COPY, or backupctl catalog rebuild --all.',
    });
  }
  const policy = await context.policy();
  if (from !== undefined) copyPolicy(policy, from);
  const { rebuildCatalog } = await import('../../engine/catalog/index.ts');
  const report = await rebuildCatalog({
    catalog: await context.catalog(),
    stores: await Promise.all(policy.copies.map((c) => context.store(c.name))),
    trusted: policy.keys.trusted,
    ...(from === undefined ? {} : { from }),
  });
  const { out } = context;
  out.result(report, () =>
    [
      facts([
        ['recovery points', String(report.points)],
        ['copies', String(report.copies)],
        ['forgotten', `${report.forgotten} copies that their store no longer has`],
        ['not reachable', report.unreachable.join(', ') || 'none'],
      ]),
      ...report.problems.map((p) => `${out.paint('yellow', '!')} ${p}`),
    ].join('\n'),
  );
  return undefined;
}

/** Ends with the code of CatalogDiffers when anything differs. */
export async function catalogVerify(context: Context): Promise<number | undefined> {
  const policy = await context.policy();
  const { verifyCatalog } = await import('../../engine/catalog/index.ts');
  const differences = await verifyCatalog({
    catalog: await context.catalog(),
    stores: await Promise.all(policy.copies.map((c) => context.store(c.name))),
    trusted: policy.keys.trusted,
  });
  const { out } = context;
  out.result({ same: differences.length === 0, differences }, () =>
    differences.length === 0
      ? `${out.paint('green', '✓')} The catalog says what the stores hold.`
      : [
          ...differences.map((d) => `${out.paint('red', '✗')} ${d}`),
          'The stores are the truth: "backupctl catalog rebuild --all" follows them.',
        ].join('\n'),
  );
  return differences.length === 0 ? undefined : failureTypes.CatalogDiffers.exitCode;
}
