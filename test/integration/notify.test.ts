import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { notify, sendEmail, sendWebhook } from '../../engine/notify/index.ts';
import { notification } from '../../policies/policy.ts';
import { ended } from '../engine/notify/events.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Receiver {
  url: string;
  requests: { headers: IncomingHttpHeaders; body: string; at: number }[];
}
type Answer = number | { status: number; headers: Record<string, string> } | 'hang up' | 'silence';

/** An HTTP server that answers as told, the last answer again and again. */
async function receiver(...answers: Answer[]): Promise<Receiver> {
  const requests: Receiver['requests'] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (c: Buffer) => chunks.push(c));
    request.on('end', () => {
      requests.push({ headers: request.headers, body: Buffer.concat(chunks).toString(), at: Date.now() });
      const answer = answers[Math.min(requests.length, answers.length) - 1] ?? 200;
      if (answer === 'hang up') request.socket.destroy();
      else if (answer === 'silence') return;
      else if (typeof answer === 'number') response.writeHead(answer).end('ok');
      else response.writeHead(answer.status, answer.headers).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/services/T0/s3cret-path`, requests };
}

const quick = { firstDelayMs: 5, timeoutMs: 300 };

describe('a webhook', () => {
  test('gets what Slack takes, and the facts for programs', async () => {
    const { url, requests } = await receiver(200);
    const event = ended('failed');
    await sendWebhook({ url }, event, quick);
    const message = JSON.parse(requests[0]?.body ?? '');
    expect(requests[0]?.headers['content-type']).toBe('application/json');
    expect(message.text).toContain('Backup of shop failed');
    expect(message.text).toContain('&lt;b&gt;burns&lt;/b&gt; &amp; smokes');
    expect(message.blocks.map((b: { type: string }) => b.type)).toEqual(['header', 'section']);
    expect(message.event).toEqual(event);
  });

  test('gets a signature that fits the body, and none without a key', async () => {
    const { url, requests } = await receiver(200);
    await sendWebhook({ url, secret: 'key' }, ended('succeeded'), quick);
    await sendWebhook({ url }, ended('succeeded'), quick);
    const signature = String(requests[0]?.headers['x-backup-signature']);
    const [, t = '', v1 = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
    expect(v1).toBe(createHmac('sha256', 'key').update(`${t}.${requests[0]?.body}`).digest('hex'));
    expect(requests[1]?.headers).not.toHaveProperty('x-backup-signature');
  });

  test('is never sent more than Slack takes', async () => {
    const { url, requests } = await receiver(200);
    await sendWebhook({ url }, ended('failed', { error: '<'.repeat(10_000) }), quick);
    const { blocks } = JSON.parse(requests[0]?.body ?? '');
    expect(blocks[0].text.text.length).toBeLessThanOrEqual(150);
    expect(blocks[1].text.text.length).toBeLessThanOrEqual(3000);
  });

  test.each<[string, Answer]>([
    ['an error of the server', 500],
    ['a connection that breaks', 'hang up'],
    ['no answer in time', 'silence'],
    ['too many requests', 429],
  ])('is tried again after %s', async (_what, first) => {
    const { url, requests } = await receiver(first, 200);
    await sendWebhook({ url }, ended('succeeded'), quick);
    expect(requests).toHaveLength(2);
  });

  test('is left alone for as long as it asks', async () => {
    const { url, requests } = await receiver({ status: 429, headers: { 'retry-after': '1' } }, 200);
    await sendWebhook({ url }, ended('succeeded'), quick);
    expect((requests[1]?.at ?? 0) - (requests[0]?.at ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test('that refuses for good is not tried again, and only its host is named', async () => {
    const { url, requests } = await receiver(404);
    const sending = sendWebhook({ url }, ended('succeeded'), quick);
    await expect(sending).rejects.toMatchObject({
      type: 'NotificationFailed',
      message: expect.stringContaining('HTTP 404'),
    });
    await expect(sending).rejects.toMatchObject({ message: expect.not.stringContaining('s3cret-path') });
    expect(requests).toHaveLength(1);
  });

  test('that stays away is given up after four attempts', async () => {
    const { url, requests } = await receiver(503);
    await expect(sendWebhook({ url }, ended('succeeded'), quick)).rejects.toMatchObject({ type: 'NotificationFailed' });
    expect(requests).toHaveLength(4);
  });

  test('is not followed elsewhere', async () => {
    const other = await receiver(200);
    const { url } = await receiver({ status: 302, headers: { location: other.url } });
    await expect(sendWebhook({ url, secret: 'key' }, ended('succeeded'), quick)).rejects.toMatchObject({
      message: expect.stringContaining('HTTP 302'),
    });
    expect(other.requests).toHaveLength(0);
  });

  test('whose address is none is not tried, and not repeated', async () => {
    const sending = sendWebhook({ url: 'hooks.example/s3cret-path' }, ended('succeeded'), quick);
    await expect(sending).rejects.toMatchObject({
      type: 'NotificationFailed',
      message: expect.not.stringContaining('s3cret'),
    });
  });
});

interface MailServer {
  port: number;
  mails: { from: string; to: string[]; text: string; secure: boolean; user: string | undefined }[];
}

async function mailServer(options: SMTPServerOptions = {}): Promise<MailServer> {
  const mails: MailServer['mails'] = [];
  const server = new SMTPServer({
    authOptional: true,
    logger: false,
    onData(stream, session, done) {
      let text = '';
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map((r) => r.address),
          text,
          secure: session.secure,
          user: session.user,
        });
        done();
      });
    },
    ...options,
  });
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => server.close(() => resolve(null))));
  return { port: (server.server.address() as AddressInfo).port, mails };
}

describe('e-mail', () => {
  const target = { host: '127.0.0.1', from: 'backup@example.org', to: ['ops@example.org', 'boss@example.org'] };

  test('arrives as text and HTML at everybody', async () => {
    const { port, mails } = await mailServer({ disabledCommands: ['STARTTLS', 'AUTH'] });
    await sendEmail({ ...target, port, security: 'none' }, ended('failed'));
    expect(mails).toHaveLength(1);
    expect(mails[0]).toMatchObject({ from: 'backup@example.org', to: ['ops@example.org', 'boss@example.org'] });
    expect(mails[0]?.text).toContain('text/plain');
    expect(mails[0]?.text).toContain('text/html');
  });

  test('is not sent in the clear where TLS is demanded and the server has none', async () => {
    const { port, mails } = await mailServer({ disabledCommands: ['STARTTLS'] });
    const sending = sendEmail(
      { ...target, port, security: 'starttls', user: 'me', password: 'hush-hush' },
      ended('failed'),
    );
    await expect(sending).rejects.toMatchObject({
      type: 'NotificationFailed',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    await expect(sending).rejects.toMatchObject({ message: expect.not.stringContaining('hush-hush') });
    expect(mails).toEqual([]);
  });

  test('logs in with the account, and says so when that is refused', async () => {
    const { port, mails } = await mailServer({
      disabledCommands: ['STARTTLS'],
      authOptional: false,
      allowInsecureAuth: true,
      onAuth: (auth, _session, done) =>
        auth.password === 'right' ? done(null, { user: auth.username }) : done(new Error('no such account')),
    });
    await sendEmail({ ...target, port, security: 'none', user: 'me', password: 'right' }, ended('succeeded'));
    expect(mails).toMatchObject([{ user: 'me' }]);
    const refused = sendEmail(
      { ...target, port, security: 'none', user: 'me', password: 'wrong-one' },
      ended('succeeded'),
    );
    await expect(refused).rejects.toMatchObject({
      type: 'NotificationFailed',
      message: expect.stringContaining('535'),
    });
    await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('wrong-one') });
  });

  test('that nobody takes is named with host and port', async () => {
    await expect(sendEmail({ ...target, port: 1, security: 'none' }, ended('failed'))).rejects.toMatchObject({
      type: 'NotificationFailed',
      message: expect.stringContaining('127.0.0.1:1'),
    });
  });
});

describe('telling everybody', () => {
  const secrets: Record<string, string> = {};
  const resolveSecret = async (ref: string) => secrets[ref] ?? Promise.reject(new Error('unexpected'));

  test('goes on when one receiver fails, and names that one', async () => {
    const hook = await receiver(200);
    const broken = await receiver(404);
    const { port, mails } = await mailServer({ disabledCommands: ['STARTTLS'] });
    Object.assign(secrets, { 'env:GOOD': hook.url, 'env:BROKEN': broken.url });
    const policies = [
      { kind: 'webhook', url: 'env:BROKEN' },
      { kind: 'webhook', url: 'env:MISSING' },
      { kind: 'webhook', url: 'env:GOOD' },
      { kind: 'email', host: '127.0.0.1', port, security: 'none', from: 'a@example.org', to: ['b@example.org'] },
    ].map((p) => notification.parse(p));
    const unreached = await notify({ policies, event: ended('failed'), resolveSecret });
    expect(unreached).toEqual([expect.stringContaining('HTTP 404'), expect.stringContaining('could not be sent')]);
    expect(hook.requests).toHaveLength(1);
    expect(mails).toHaveLength(1);
  });

  test('leaves out who does not want to know', async () => {
    const hook = await receiver(200);
    secrets['env:HOOK'] = hook.url;
    const policies = [notification.parse({ kind: 'webhook', url: 'env:HOOK', on: ['failure'] })];
    await expect(notify({ policies, event: ended('succeeded'), resolveSecret })).resolves.toEqual([]);
    expect(hook.requests).toHaveLength(0);
    await notify({ policies, event: ended('partial'), resolveSecret });
    expect(hook.requests).toHaveLength(1);
  });
});
