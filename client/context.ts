import type { Client } from '@temporalio/client';
import type { Catalog } from '../engine/catalog/index.ts';
import type { Store } from '../engine/stores/index.ts';
import type { StoreAccess } from '../policies/credentials.ts';
import type { Policy } from '../policies/policy.ts';
import { copyPolicy } from './names.ts';
import type { Output } from './output.ts';
import { findPolicyFile } from './policy-file.ts';

/** What a command works with. Each part is made when it is first asked for, so that a command loads only what it needs. */
export interface Context {
  readonly out: Output;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly signal: AbortSignal | undefined;
  policyFile(): string;
  policy(): Promise<Policy>;
  secret(ref: string): Promise<string>;
  catalog(): Promise<Catalog>;
  /** To read from, or with the credentials for another kind of access. Throws CopyUnknown. */
  store(copy: string, access?: StoreAccess): Promise<Store>;
  /** Throws TemporalUnreachable with the address. */
  temporal(): Promise<Client>;
  close(): Promise<void>;
}

export interface ContextOptions {
  out: Output;
  env: NodeJS.ProcessEnv;
  cwd: string;
  policy?: string;
  signal: AbortSignal | undefined;
}

export function openContext({ out, env, cwd, policy: given, signal }: ContextOptions): Context {
  const closers: (() => Promise<void>)[] = [];
  const stores = new Map<string, Promise<Store>>();
  const policyFile = () => findPolicyFile({ env, cwd, ...(given === undefined ? {} : { given }) });
  const policy = once(async () => (await import('../engine/config/index.ts')).loadPolicy(policyFile()));
  const secret = async (ref: string) => (await import('../engine/config/index.ts')).resolveSecret(ref);
  return {
    out,
    env,
    cwd,
    signal,
    policyFile,
    policy,
    secret,
    catalog: once(async () => {
      const dsn = await secret((await policy()).catalog.dsn);
      const { openCatalog } = await import('../engine/catalog/index.ts');
      const catalog = await openCatalog({ dsn });
      closers.push(() => catalog.close());
      return catalog;
    }),
    async store(name, access = 'read') {
      const copy = copyPolicy(await policy(), name);
      const open = async () => {
        const { openStore } = await import('../engine/stores/open.ts');
        const store = await openStore(copy, { access, resolveSecret: secret });
        closers.push(() => store.close());
        return store;
      };
      const key = `${access} ${name}`;
      const opened = stores.get(key) ?? open();
      stores.set(key, opened);
      return opened;
    },
    temporal: once(async () => {
      const { connect } = await import('./temporal.ts');
      const client = await connect((await policy()).temporal);
      closers.push(() => client.connection.close());
      return client;
    }),
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
}

/** Made at the first call; the same for all later ones. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make();
    return made;
  };
}
