import { accessOf, credentialsFor, type StoreAccess } from './credentials.ts';
import type { Policy, SourcePolicy } from './policy.ts';
import type { Role } from './queues.ts';

/**
 * The references to secrets that a role's worker resolves on a host, each once: what it is handed, and nothing else. A
 * worker that asks for another one is refused.
 */
export function secretsOf(role: Role, policy: Policy, host: string): string[] {
  const access = accessOf[role];
  return distinct([...(access === null ? [] : storeSecrets(policy, access)), ...ownSecrets(role, policy, host)]);
}

/** Every reference of the policy, wherever it stands; destinations of webhooks are references, too. */
export function allSecrets(policy: Policy): string[] {
  return distinct([
    policy.catalog.dsn,
    policy.keys.signing,
    policy.keys.identity,
    ...policy.sources.flatMap(sourceSecrets),
    ...policy.copies.flatMap((c) => {
      if (c.kind !== 's3') return [];
      const pairs = [c, ...Object.values(c.credentials)];
      return pairs.flatMap((pair) => [pair?.accessKeyId, pair?.secretAccessKey]);
    }),
    ...policy.restoreTargets.map((t) => t.password),
    ...notificationSecrets(policy),
  ]);
}

function storeSecrets({ copies }: Policy, access: StoreAccess): (string | undefined)[] {
  return copies.flatMap((copy) => {
    const keys = credentialsFor(copy, access);
    return [keys?.accessKeyId, keys?.secretAccessKey];
  });
}

function ownSecrets(role: Role, policy: Policy, host: string): (string | undefined)[] {
  const { keys, catalog, sources, restoreTargets } = policy;
  switch (role) {
    case 'coordination':
      return [catalog.dsn, ...notificationSecrets(policy)];
    case 'backup':
      return [keys.signing, ...sources.filter((s) => s.host === host).flatMap(sourceSecrets)];
    case 'validation':
      return [keys.identity];
    case 'recovery':
      return [catalog.dsn, keys.identity, ...restoreTargets.map((t) => t.password), ...storeSecrets(policy, 'rekey')];
    case 'transfer':
    case 'retention':
      return [];
  }
}

function sourceSecrets(source: SourcePolicy): (string | undefined)[] {
  if (!('connection' in source)) return [];
  const canary = source.kind === 'postgres-physical' ? [source.wal?.canary?.password] : [];
  return [source.connection.password, ...canary];
}

function notificationSecrets({ notifications }: Policy): (string | undefined)[] {
  return notifications.flatMap((n) => (n.kind === 'webhook' ? [n.url, n.secret] : [n.password]));
}

function distinct(refs: (string | undefined)[]): string[] {
  return [...new Set(refs.filter((ref) => ref !== undefined))];
}
