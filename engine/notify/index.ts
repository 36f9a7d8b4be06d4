import { isFailure } from '../../policies/failure.ts';
import type { NotificationPolicy } from '../../policies/policy.ts';
import { sendEmail } from './email.ts';
import { type IncidentEvent, type NotificationEvent, wordsFor } from './event.ts';
import { sendWebhook } from './webhook.ts';

export { sendEmail } from './email.ts';
export { type IncidentEvent, type NotificationEvent, placesOf, wordsFor } from './event.ts';
export { sendWebhook } from './webhook.ts';

export interface NotifyOptions {
  policies: NotificationPolicy[];
  event: NotificationEvent | IncidentEvent;
  resolveSecret(ref: string): Promise<string>;
  signal?: AbortSignal;
}

/**
 * Tells everyone who wants to know of this kind of event, all at once. Returns one line for each receiver that was not
 * reached; one that fails keeps no other from being told. Throws only when the signal aborts.
 */
export async function notify(options: NotifyOptions): Promise<string[]> {
  const { policies, event, signal } = options;
  const { kind } = wordsFor(event);
  const wanted = policies.filter((p) => p.on.includes(kind));
  const told = await Promise.allSettled(wanted.map((policy) => send(policy, options)));
  signal?.throwIfAborted();
  return told.flatMap((t, i) => (t.status === 'rejected' ? [lineOf(t.reason, wanted[i]?.kind ?? '')] : []));
}

/** An error that is no Failure may quote what must not be shown. */
function lineOf(error: unknown, kind: string): string {
  return isFailure(error) ? error.message : `The ${kind} could not be sent (${(error as Error).name}).`;
}

async function send(policy: NotificationPolicy, { event, resolveSecret, signal }: NotifyOptions): Promise<void> {
  if (policy.kind === 'webhook') {
    const secret = policy.secret === undefined ? {} : { secret: await resolveSecret(policy.secret) };
    await sendWebhook({ url: await resolveSecret(policy.url), ...secret }, event, signal ? { signal } : {});
    return;
  }
  const { host, port, security, user, password, from, to } = policy;
  const account = {
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password: await resolveSecret(password) }),
  };
  await sendEmail({ host, port, security, from, to, ...account }, event);
}
