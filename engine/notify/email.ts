import { createTransport } from 'nodemailer';
import { Failure } from '../../policies/failure.ts';
import { type IncidentEvent, type NotificationEvent, type Words, wordsFor } from './event.ts';

export interface EmailTarget {
  host: string;
  port: number;
  /** `starttls` refuses to go on where the server offers none. */
  security: 'none' | 'starttls' | 'tls';
  user?: string;
  password?: string;
  from: string;
  to: string[];
}

/** Sends the event as plain text and simple HTML by SMTP. Throws NotificationFailed. */
export async function sendEmail(target: EmailTarget, event: NotificationEvent | IncidentEvent): Promise<void> {
  const words = wordsFor(event);
  const transport = createTransport({
    host: target.host,
    port: target.port,
    secure: target.security === 'tls',
    requireTLS: target.security === 'starttls',
    ignoreTLS: target.security === 'none',
    ...(target.user ? { auth: { user: target.user, pass: target.password ?? '' } } : {}),
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
    socketTimeout: 30_000,
  });
  try {
    await transport.sendMail({
      from: target.from,
      to: target.to,
      subject: words.title,
      text: words.lines.join('\n'),
      html: htmlOf(words),
    });
  } catch (error) {
    const { code, responseCode } = error as {
      code?: string;
      responseCode?: number;
    };
    const why = [code, responseCode && `answer ${responseCode}`].filter(Boolean).join(', ') || 'no answer';
    throw new Failure(
      'NotificationFailed',
      `The mail server ${target.host}:${target.port} did not take the message (${why}).`,
      {
        next: 'Check host, port, security and the account in the policy file.',
        cause: error,
      },
    );
  } finally {
    transport.close();
  }
}

function htmlOf({ title, lines }: Words): string {
  return `<h2>${escaped(title)}</h2>\n<p>${lines.map(escaped).join('<br>\n')}</p>\n`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
