import { stat } from 'node:fs/promises';
import { Failure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { allSecrets } from '../../policies/role-secrets.ts';
import type { Context } from '../context.ts';
import { examine, type Finding } from './check.ts';

/** Every reference has its secret, files of secrets are closed to others, and the keys fit together. */
export async function examineSecrets(context: Context, policy: Policy): Promise<Finding[]> {
  const { readSigningKey, publicKeyOf, recipientsOf } = await import('../../engine/artifact/index.ts');
  const refs = allSecrets(policy).filter((r) => r !== policy.keys.signing && r !== policy.keys.identity);
  const secrets = await Promise.all(refs.map((ref) => examine(`secret ${ref}`, () => present(context, ref))));
  const keys = await Promise.all([
    examine('signing key', async () => {
      const said = await present(context, policy.keys.signing);
      const own = publicKeyOf(readSigningKey(await context.secret(policy.keys.signing)));
      if (policy.keys.trusted.includes(own)) return `${said}, and among the trusted ones`;
      throw new Failure(
        'SignatureInvalid',
        `its public key ${own} is not among keys.trusted: no point it signs would count`,
        {
          next: `Add ${own} to keys.trusted in the policy file.`,
        },
      );
    }),
    examine('age identity', async () => {
      const said = await present(context, policy.keys.identity);
      const own = await recipientsOf(await context.secret(policy.keys.identity));
      if (policy.keys.recipients.some((r) => own.includes(r)))
        return `${said}; it opens what is sealed for ${own.join(', ')}`;
      throw new Failure(
        'KeyWrong',
        `its recipient ${own.join(', ')} is not among keys.recipients: it opens no new point`,
        {
          next: `Add ${own[0]} to keys.recipients, or name the identity of one of those.`,
        },
      );
    }),
  ]);
  return [...inShort(secrets), ...keys];
}

/** Those that are well in one line: there may be dozens, and what is wrong must not drown among them. */
function inShort(secrets: Finding[]): Finding[] {
  const wrong = secrets.filter((s) => !s.ok);
  const well = secrets.length - wrong.length;
  if (well === 0) return wrong;
  const details = well === 1 ? 'one is there, and closed to others' : `${well} are there, and closed to others`;
  return [...wrong, { check: 'secrets', ok: true, type: null, details, next: '' }];
}

async function present(context: Context, ref: string): Promise<string> {
  await context.secret(ref);
  if (!ref.startsWith('file:')) return 'is set';
  const file = ref.slice('file:'.length);
  const { mode } = await stat(file);
  if ((mode & 0o077) === 0) return 'is there, closed to others';
  throw new Failure(
    'SecretMissing',
    `${file} is open to others (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`,
    {
      next: `chmod 0600 ${file}`,
    },
  );
}
