import { failureTypes } from '../../policies/failure.ts';
import type { Context } from '../context.ts';
import { examine, type Finding, wrong } from '../doctor/check.ts';
import { examineHost } from '../doctor/host.ts';
import { examineSecrets } from '../doctor/keys.ts';
import { examineServices } from '../doctor/services.ts';
import { examineStore } from '../doctor/stores.ts';

/** Ends with the exit code of the first thing that is not well. */
export async function doctor(context: Context, { host }: { host: string }): Promise<number | undefined> {
  const findings = await examineAll(context, host);
  const ill = findings.filter((f) => !f.ok);
  const { out } = context;
  out.result({ ok: ill.length === 0, findings }, () =>
    [
      ...findings.map((f) =>
        f.ok
          ? `${out.paint('green', '✓')} ${f.check}: ${f.details}`
          : `${out.paint('red', '✗')} ${f.check}: ${f.details}\n    → ${f.next}`,
      ),
      '',
      ill.length === 0 ? 'All is well.' : `${ill.length} of ${findings.length} need attention.`,
    ].join('\n'),
  );
  return ill[0] ? exitCodeOf(ill[0]) : undefined;
}

function exitCodeOf({ type }: Finding): number {
  return type === null || type === 'Unexpected' ? 1 : failureTypes[type].exitCode;
}

async function examineAll(context: Context, host: string): Promise<Finding[]> {
  let policy: Awaited<ReturnType<Context['policy']>>;
  try {
    policy = await context.policy();
  } catch (error) {
    return [{ check: 'policy file', ok: false, ...wrong(error) }];
  }
  const groups = await Promise.all([
    examine('policy file', async () => `${context.policyFile()} is valid`).then((f) => [f]),
    examineSecrets(context, policy),
    examineServices(context, policy),
    ...policy.copies.map((copy) => examineStore(context, copy)),
    examineHost(context, policy, host),
  ]);
  return groups.flat();
}
