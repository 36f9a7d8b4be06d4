import { accessOf, credentialsFor } from '../policies/credentials.ts';
import type { Policy } from '../policies/policy.ts';
import type { Role } from '../policies/queues.ts';
import { secretsOf } from '../policies/role-secrets.ts';

/** Settings that any process may need, and that are no secrets. PATH, HOME and LANG come with every child. */
const common =
  /^(TZ|LC_[A-Z]+|TMPDIR|XDG_CACHE_HOME|USER|LOGNAME|PG_BIN_DIRS|PGSSLROOTCERT|NODE_EXTRA_CA_CERTS|NODE_COMPILE_CACHE|SSL_CERT_(FILE|DIR)|(HTTPS?|NO)_PROXY)$/i;

/**
 * The environment of a role's worker: of ours, the common settings, the variables that its own secrets stand in, and
 * AWS's own where a copy names no credentials and the role uses stores. Another role's secret is not among them.
 */
export function roleEnvironment(
  role: Role,
  policy: Policy,
  host: string,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  const own = new Set(
    secretsOf(role, policy, host).flatMap((ref) => (ref.startsWith('env:') ? [ref.slice('env:'.length)] : [])),
  );
  const access = accessOf[role];
  const usesChain =
    access !== null && policy.copies.some((copy) => copy.kind === 's3' && credentialsFor(copy, access) === null);
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => {
      const [name, value] = entry;
      return value !== undefined && (common.test(name) || own.has(name) || (usesChain && name.startsWith('AWS_')));
    }),
  );
}
