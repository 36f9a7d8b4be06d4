import { rekeyWal, type WalInCopies, walInCopies } from '../engine/keys/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import type { ActivityTools } from './failure.ts';

/** Wrapped keys beside an object of WAL that stand in the way of a revocation: what `removeWalKeys` takes away. */
export interface FormerWalKeys {
  key: string;
  copies: string[];
  keep: { name: string; sha256: string };
}

export interface RekeyWalPage {
  objects: number;
  /** Copies of objects to which a wrapped key was added now. */
  added: number;
  /** Copies that had it. */
  present: number;
  former: FormerWalKeys[];
  /** Objects with former keys beside them whose new one no identity at hand opens. */
  unproven: number;
  /** Objects that somebody opens who is no recipient any more, by the key in their signed first line. */
  inLine: number;
  problems: string[];
  moreProblems: number;
  /** Where to go on; null at the end. */
  after: string | null;
}

export interface RekeyWalRequest {
  source: string;
  /** Default: every copy of the policy. */
  copies?: string[];
  /** Go on behind this one. */
  after: string | null;
}

/** Objects done in one go, and those of them with former keys: neither a history nor a payload grows with what there is. */
const objectsMax = 2_000;
const formerMax = 300;
/** Small requests at once: this hides the way to the stores. More would do more arithmetic in one go than others can wait. */
const atOnce = 4;

/** Wraps the keys of the next objects of a source's WAL. What was done is found done by the next attempt. */
export async function rekeyWalPage(
  { policy, identity }: { policy: Policy; identity(): Promise<string> },
  stores: Store[],
  { source, after }: RekeyWalRequest,
  page: RekeyWalPage,
  { report, signal }: Pick<ActivityTools, 'report' | 'signal'>,
): Promise<void> {
  const identities = await identity();
  const listed = await answering(stores, page);
  const onFailure = (store: Store, error: unknown) => noteAway(store, error, page);
  const batch: WalInCopies[] = [];
  const finish = async () => {
    signal.throwIfAborted();
    const objects = batch.splice(0);
    await Promise.all(objects.map((object) => rekeyOne(policy, identities, source, object, page)));
    page.objects += objects.length;
    report({ entriesDone: page.objects });
  };
  for await (const object of walInCopies(listed, source, { after, onFailure })) {
    batch.push(object);
    if (batch.length < atOnce) continue;
    await finish();
    if (page.objects < objectsMax && page.former.length < formerMax) continue;
    page.after = object.key;
    return;
  }
  await finish();
}

async function rekeyOne(
  policy: Policy,
  identity: string,
  source: string,
  object: WalInCopies,
  page: RekeyWalPage,
): Promise<void> {
  const { recipients, trusted } = policy.keys;
  const modes = new Map(policy.copies.map((c) => [c.name, c.kind === 's3' ? c.lock?.mode : undefined]));
  try {
    const options = { source, object, trusted, identity, recipients };
    const rekeyed = await rekeyWal({ ...options, lockMode: (copy) => modes.get(copy) });
    for (const { copy, state, error } of rekeyed.copies) {
      if (state === 'failed') page.problems.push(`${object.key} in ${copy}: ${error}`);
      else if (state === 'added') page.added++;
      else page.present++;
    }
    if (rekeyed.inLine.some((r) => !recipients.includes(r))) page.inLine++;
    const copies = rekeyed.copies.filter((c) => c.state !== 'failed' && c.former.length > 0).map((c) => c.copy);
    if (copies.length === 0) return;
    if (rekeyed.proven) page.former.push({ key: object.key, copies, keep: rekeyed.key });
    else page.unproven++;
  } catch (error) {
    if (!isFailure(error)) throw error;
    page.problems.push(`${object.key}: ${error.message}`);
  }
}

/** A folder whose disk is away is not one that holds no WAL. Throws what keeps all of them from it. */
async function answering(stores: Store[], page: RekeyWalPage): Promise<Store[]> {
  const listed: Store[] = [];
  let away: unknown;
  for (const store of stores) {
    try {
      await store.check();
      listed.push(store);
    } catch (error) {
      noteAway(store, error, page);
      away = error;
    }
  }
  if (listed.length === 0 && away) throw away;
  return listed;
}

function noteAway(store: Store, error: unknown, page: RekeyWalPage): void {
  if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
  page.problems.push(`${store.name}: ${error.message}`);
}
