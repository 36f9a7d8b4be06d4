import path from 'node:path';
import { readPolicy } from '../../policies/parse.ts';
import { judgePolicy } from '../../policies/three-two-one.ts';
import type { Context } from '../context.ts';
import { facts } from '../table.ts';

/** Throws PolicyInvalid with every problem; otherwise says what the policy is about. */
export async function policyCheck(
  { out, cwd, policyFile }: Context,
  given: string | undefined,
): Promise<number | undefined> {
  const { readPolicyText } = await import('../../engine/config/index.ts');
  const file = given === undefined ? policyFile() : path.resolve(cwd, given);
  const { policy, warnings } = readPolicy(await readPolicyText(file), file);
  const rule = judgePolicy(policy, () => true);
  const document = {
    valid: true,
    file,
    warnings,
    sources: policy.sources.map(({ name, kind, host }) => ({ name, kind, host })),
    copies: policy.copies.map(({ name, kind, region, medium }) => ({ name, kind, region, medium })),
    rule,
  };
  out.result(document, () =>
    [
      `${out.paint('green', '✓')} ${file} is valid.`,
      ...warnings.map((w) => `${out.paint('yellow', '!')} ${w}`),
      facts([
        ['sources', policy.sources.map((s) => `${s.name} (${s.kind} on ${s.host})`).join('\n') || 'none yet'],
        ['copies', policy.copies.map((c) => `${c.name} (${c.kind} in ${c.region})`).join('\n')],
        ['3-2-1', rule.satisfied ? 'kept once every copy is verified' : `BREACHED: ${rule.breaches.join('; ')}`],
      ]),
    ].join('\n'),
  );
  return undefined;
}
