import { isFailure } from '../../policies/failure.ts';
import type { NotificationPolicy } from '../../policies/policy.ts';
import { sendEmail } from './email.ts';
import { type NotificationEvent, wordsFor } from './event.ts';
import { sendWebhook } from './webhook.ts';

export { type EmailTarget, sendEmail } from './email.ts';
export { type NotificationEvent, wordsFor } from './event.ts';
export { sendWebhook, signatureHeader, type WebhookTarget } from './webhook.ts';

export interface NotifyOptions {
  policies: NotificationPolicy[];
  event: NotificationEvent;
  resolveSecret(ref: string): Promise<string>;
}

/** Tells everyone who wants to know of this kind of event. Returns one line for each receiver that was not reached. */
export async function notify({ policies, event, resolveSecret }: NotifyOptions): Promise<string[]> {
  const { kind } = wordsFor(event);
  const wanted = policies.filter((p) => p.on.includes(kind));
  const unreached: string[] = [];
  for (const policy of wanted) {
    try {
      await send(policy, event, resolveSecret);
    } catch (error) {
      if (!isFailure(error)) throw error;
      unreached.push(error.message);
    }
  }
  return unreached;
}

async function send(
  policy: NotificationPolicy,
  event: NotificationEvent,
  resolveSecret: NotifyOptions['resolveSecret'],
): Promise<void> {
  if (policy.kind === 'webhook') {
    const secret = policy.secret === undefined ? {} : { secret: await resolveSecret(policy.secret) };
    await sendWebhook({ url: await resolveSecret(policy.url), ...secret }, event);
    return;
  }
  const { user, password, kind: _kind, on: _on, ...rest } = policy;
  await sendEmail(
    {
      ...rest,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password: await resolveSecret(password) }),
    },
    event,
  );
}
