import { createHmac } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Failure } from '../../policies/failure.ts';
import { type IncidentEvent, type NotificationEvent, wordsFor } from './event.ts';

export interface WebhookTarget {
  /** A secret: Slack's URLs are. Only its host is ever shown. */
  url: string;
  /** Key of the signature; absent: unsigned. */
  secret?: string;
}

export interface WebhookOptions {
  signal?: AbortSignal;
  /** Limit of one attempt. */
  timeoutMs?: number;
  /** Wait before the second attempt; it doubles from then on. */
  firstDelayMs?: number;
}

const attemptsMax = 4;
/** A receiver that asks for more is asked again after this; all attempts together stay below 90 s. */
const delayMaxMs = 15_000;

/** The header that carries `t=SECONDS,v1=HEX`: HMAC-SHA-256 over `t + "." + body`. */
const signatureHeader = 'X-Backup-Signature';

/**
 * Posts the event as Slack-compatible JSON (`text` and `blocks`) with the facts beside it (`event`). Tries again after
 * 5xx, 429 (honouring Retry-After) and broken connections; follows no redirect, for the address is a secret and the
 * signature is meant for one host. Throws NotificationFailed.
 */
export async function sendWebhook(
  target: WebhookTarget,
  event: NotificationEvent | IncidentEvent,
  { signal, timeoutMs = 10_000, firstDelayMs = 500 }: WebhookOptions = {},
): Promise<void> {
  if (!URL.canParse(target.url) || !/^https?:$/.test(new URL(target.url).protocol)) {
    throw new Failure('NotificationFailed', 'The address of the webhook is no http(s) URL.', {
      next: 'Correct the secret that notifications[].url refers to.',
    });
  }
  const body = JSON.stringify(messageOf(event));
  let last = '';
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    signal?.throwIfAborted();
    const outcome = await post(target, body, timeoutMs, signal);
    if (outcome.done) return;
    last = outcome.why;
    if (outcome.final || attempt === attemptsMax) break;
    await setTimeout(Math.min(delayMaxMs, outcome.retryAfterMs ?? firstDelayMs * 2 ** (attempt - 1)), undefined, {
      signal,
    });
  }
  throw new Failure(
    'NotificationFailed',
    `The webhook at ${new URL(target.url).host} did not take the message (${last}).`,
    {
      next: 'Check its URL and that the receiver is up.',
    },
  );
}

/** Slack's limits: 150 characters in a header, 3,000 in a section; a longer one is refused whole. */
const headerMax = 150;
const sectionMax = 3_000;

function messageOf(event: NotificationEvent | IncidentEvent) {
  const words = wordsFor(event);
  const lines = words.lines.map(escaped).join('\n');
  return {
    text: cut(`${escaped(words.title)}\n${lines}`, sectionMax),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: cut(words.title, headerMax), emoji: true } },
      { type: 'section', text: { type: 'mrkdwn', text: cut(lines, sectionMax) } },
    ],
    event,
  };
}

/** Slack's three control characters. A file may be named `<!channel>`. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function cut(text: string, letters: number): string {
  return text.length <= letters ? text : `${text.slice(0, letters - 1)}…`;
}

type Outcome = { done: true } | { done: false; why: string; final: boolean; retryAfterMs?: number };

async function post(
  { url, secret }: WebhookTarget,
  body: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Outcome> {
  const t = Math.floor(Date.now() / 1000);
  const signature = secret === undefined ? null : createHmac('sha256', secret).update(`${t}.${body}`).digest('hex');
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        ...(signature ? { [signatureHeader]: `t=${t},v1=${signature}` } : {}),
      },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    await response.body?.cancel();
    if (response.ok) return { done: true };
    const retryAfterMs = waitOf(response.headers.get('retry-after'));
    return {
      done: false,
      why: `HTTP ${response.status}`,
      final: response.status < 500 && response.status !== 429,
      ...(retryAfterMs === null ? {} : { retryAfterMs }),
    };
  } catch (error) {
    signal?.throwIfAborted();
    if (limit.aborted) return { done: false, why: `no answer within ${timeoutMs} ms`, final: false };
    const { cause } = error as { cause?: { code?: string } };
    return { done: false, why: cause?.code ?? 'no connection', final: false };
  }
}

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3), as milliseconds from now; null when absent or unreadable. */
function waitOf(header: string | null): number | null {
  if (header === null) return null;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms >= 0 ? ms : null;
}
