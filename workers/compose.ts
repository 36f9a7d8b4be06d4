import { readFile } from 'node:fs/promises';
import type { Client } from '@temporalio/client';
import { tellCallingJob } from '../activities/calling-job.ts';
import { createCoordinationActivities } from '../activities/coordination.ts';
import { createExpiryActivities } from '../activities/expiry.ts';
import { createHostActivities } from '../activities/host.ts';
import { createRecoveryActivities } from '../activities/recovery.ts';
import { createRekeyActivities } from '../activities/rekey.ts';
import { createRepairActivities } from '../activities/repair.ts';
import { createRepairPlanActivities } from '../activities/repair-plan.ts';
import { createRetentionActivities } from '../activities/retention.ts';
import { createScheduleActivities } from '../activities/schedule.ts';
import { createSlotActivities } from '../activities/slot.ts';
import { createStrainActivities, strainTeller } from '../activities/strain.ts';
import { createTransferActivities } from '../activities/transfer.ts';
import { createValidationActivities } from '../activities/validation.ts';
import { createWalHostActivities } from '../activities/wal-host.ts';
import { createWalTransferActivities } from '../activities/wal-transfer.ts';
import { createWalWatchActivities } from '../activities/wal-watch.ts';
import { createWatchHolders } from '../activities/watch-holders.ts';
import { readSigningKey } from '../engine/artifact/index.ts';
import { openCatalog } from '../engine/catalog/index.ts';
import { secretsAmong } from '../engine/config/index.ts';
import { type IncidentEvent, type NotificationEvent, notify } from '../engine/notify/index.ts';
import { openSource, type Source } from '../engine/sources/index.ts';
import { createDirectoryStore, type Store } from '../engine/stores/index.ts';
import { openStore } from '../engine/stores/open.ts';
import { accessOf, credentialsFor, type StoreAccess } from '../policies/credentials.ts';
import { Failure } from '../policies/failure.ts';
import { sourcePolicy } from '../policies/plan.ts';
import type { CopyPolicy, Policy } from '../policies/policy.ts';
import type { Role } from '../policies/queues.ts';
import { secretsOf } from '../policies/role-secrets.ts';
import { isRunning, openRun } from './executions.ts';

export interface Composed {
  activities: object;
  /** Releases connections. */
  close(): Promise<void>;
}

export interface CompositionContext {
  policy: Policy;
  client: Client;
  /** The machine that the worker stands on. */
  host: string;
}

/**
 * Hands each role its parts, and no more: the signing key to backup; store credentials that put to transfer, that
 * delete to retention, that only read to coordination, validation and recovery, which is also given those that put wrapped keys; an age identity to validation and recovery; the
 * catalog to coordination and recovery. Secrets are read here and nowhere else, and only those of the role.
 */
export async function composeActivities(role: Role, { policy, client, host }: CompositionContext): Promise<Composed> {
  const resolveSecret = secretsAmong(secretsOf(role, policy, host), `the ${role} worker`);
  const stores = new Map<string, Promise<Store>>();
  const closers: (() => Promise<void>)[] = [
    async () => {
      for (const store of stores.values()) await (await store).close();
    },
  ];
  const storeFor = (name: string, access: StoreAccess | null): Promise<Store> => {
    const key = `${access} ${name}`;
    const known = stores.get(key) ?? openNamed(name, access);
    stores.set(key, known);
    return known;
  };
  const openNamed = async (name: string, access: StoreAccess | null): Promise<Store> => {
    if (access === null) throw new TypeError(`${role} workers are given no store`);
    const copy = copyNamed(policy, name);
    assertCredentials(copy, access);
    return openStore(copy, { access, resolveSecret });
  };
  const store = (name: string): Promise<Store> => storeFor(name, accessOf[role]);
  const source = async (name: string): Promise<Source> => openSource(sourcePolicy(policy, name), { resolveSecret });
  const identity = () => resolveSecret(policy.keys.identity);
  const catalog = async () => {
    const opened = await openCatalog({ dsn: await resolveSecret(policy.catalog.dsn) });
    closers.push(() => opened.close());
    return opened;
  };

  const activities = await (async (): Promise<object> => {
    switch (role) {
      case 'coordination': {
        const index = await catalog();
        await index.migrate();
        const watching = { openRun: openRun(client) };
        const announce = (event: NotificationEvent | IncidentEvent, signal: AbortSignal) =>
          notify({ policies: policy.notifications, event, resolveSecret, signal });
        return {
          ...createCoordinationActivities({
            policy,
            catalog: index,
            store,
            announce,
            ...watching,
          }),
          ...createRepairPlanActivities({ policy, catalog: index, store }),
          ...createWalWatchActivities({ policy, catalog: index, announce }),
          ...createScheduleActivities({ policy, catalog: index }),
          ...createExpiryActivities({ policy, catalog: index, store, ...watching }),
          ...createSlotActivities({ client, policy }),
          ...createStrainActivities({ catalog: index, announce }),
          ...createWatchHolders(watching),
        };
      }
      case 'backup': {
        const sealing = {
          policy,
          signingKey: async () => readSigningKey(await resolveSecret(policy.keys.signing)),
          software: await softwareName(),
        };
        return {
          ...createHostActivities({ ...sealing, source, isRunning: isRunning(client) }),
          ...createWalHostActivities({ ...sealing, resolveSecret, tellStrain: strainTeller(client, policy) }),
        };
      }
      case 'transfer':
        return {
          ...createTransferActivities({
            policy,
            store,
            tellSending: (sending) => tellCallingJob(client, 'sendingAhead', sending),
          }),
          ...createRepairActivities({ policy, store }),
          ...createWalTransferActivities({ policy, store }),
        };
      case 'retention':
        return createRetentionActivities({ policy, store });
      case 'validation':
        return createValidationActivities({
          policy,
          source,
          identity,
          store,
          staging: createDirectoryStore({ name: 'staging', path: policy.staging.path }),
        });
      case 'recovery':
        return {
          ...createRecoveryActivities({ policy, catalog: await catalog(), store, source, identity, resolveSecret }),
          ...createRekeyActivities({ policy, identity, keyStore: (name) => storeFor(name, 'rekey') }),
        };
    }
  })();

  return {
    activities,
    close: async () => {
      for (const close of closers) await close();
    },
  };
}

function copyNamed(policy: Policy, name: string): CopyPolicy {
  const copy = policy.copies.find((c) => c.name === name);
  if (copy) return copy;
  throw new Failure('CopyUnknown', `The policy has no copy named "${name}".`, {
    next: `Use one of: ${policy.copies.map((c) => c.name).join(', ')}.`,
  });
}

/** Where others have a key pair each, whoever has none must not fall back to whatever the environment has. */
function assertCredentials(copy: CopyPolicy, access: StoreAccess): void {
  if (copy.kind !== 's3' || credentialsFor(copy, access) !== null || Object.keys(copy.credentials).length === 0) return;
  throw new Failure('StoreDenied', `The policy names no credentials to ${access} for ${copy.name}.`, {
    next: `Name credentials.${access} of that copy; "backupctl policy rights" prints what they must be allowed.`,
  });
}

/** Name and version, as recorded in each recovery point. */
async function softwareName(): Promise<string> {
  const { name, version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  return `${name} ${version}`;
}
