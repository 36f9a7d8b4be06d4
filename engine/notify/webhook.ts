import { createHmac } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Failure } from '../../policies/failure.ts';
import { type NotificationEvent, wordsFor } from './event.ts';

export interface WebhookTarget {
  /** A secret: Slack's URLs are. Only its host is ever shown. */
  url: string;
  /** Key of the signature; absent: unsigned. */
  secret?: string;
}

const attemptsMax = 4;
const timeoutMs = 10_000;
const firstDelayMs = 500;
const delayMaxMs = 30_000;

/** The header that carries `t=SECONDS,v1=HEX`: HMAC-SHA-256 over `t + "." + body`. */
export const signatureHeader = 'X-Backup-Signature';

/**
 * Posts the event as Slack-compatible JSON (`text` and `blocks`) with the facts beside it (`event`). Tries again after
 * 5xx, 429 (honouring Retry-After) and broken connections. Throws NotificationFailed.
 */
export async function sendWebhook(target: WebhookTarget, event: NotificationEvent): Promise<void> {
  const words = wordsFor(event);
  const body = JSON.stringify({
    text: `${words.title}\n${words.lines.join('\n')}`,
    blocks: [
      {
        type: 'header',
        text: { type: 'plain_text', text: words.title, emoji: true },
      },
      {
        type: 'section',
        text: { type: 'mrkdwn', text: words.lines.join('\n') },
      },
    ],
    event,
  });
  let last = 'no answer';
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const outcome = await post(target, body);
    if (outcome.done) return;
    last = outcome.why;
    if (outcome.final || attempt === attemptsMax) break;
    await setTimeout(Math.min(delayMaxMs, outcome.retryAfterMs ?? firstDelayMs * 2 ** (attempt - 1)));
  }
  throw new Failure('NotificationFailed', `The webhook at ${hostOf(target.url)} did not take the message (${last}).`, {
    next: 'Check its URL and that the receiver is up.',
  });
}

type Outcome = { done: true } | { done: false; why: string; final: boolean; retryAfterMs?: number };

async function post({ url, secret }: WebhookTarget, body: string): Promise<Outcome> {
  const t = Math.floor(Date.now() / 1000);
  const signature = secret === undefined ? null : createHmac('sha256', secret).update(`${t}.${body}`).digest('hex');
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        ...(signature ? { [signatureHeader]: `t=${t},v1=${signature}` } : {}),
      },
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.arrayBuffer();
    if (response.ok) return { done: true };
    const after = Number(response.headers.get('retry-after'));
    return {
      done: false,
      why: `HTTP ${response.status}`,
      final: response.status < 500 && response.status !== 429,
      ...(Number.isFinite(after) && after > 0 ? { retryAfterMs: after * 1000 } : {}),
    };
  } catch (error) {
    const { cause, name } = error as {
      cause?: { code?: string };
      name?: string;
    };
    return {
      done: false,
      why: cause?.code ?? name ?? 'no connection',
      final: false,
    };
  }
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'an address that is no URL';
}
