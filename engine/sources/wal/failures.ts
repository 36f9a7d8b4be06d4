import { Failure, isFailure } from '../../../policies/failure.ts';
import type { Connection } from '../postgres/connection.ts';
import { isBroken } from '../postgres/connection-failure.ts';

/** An error of the server or the connection while WAL was streamed. */
export function streamFailure(
  error: unknown,
  { host, port }: Pick<Connection, 'host' | 'port'>,
  name: string,
): unknown {
  if (isFailure(error)) return error;
  const { code, message } = error as { code?: string; message?: string };
  const where = `PostgreSQL at ${host}:${port}`;
  const said = message || code;
  switch (code) {
    case '55006':
      return new Failure('SourceUnreachable', `${name}: somebody else streams from the slot at ${where} (${said}).`, {
        next: 'Two workers must not archive the same WAL; if the other one is gone, the server notices within a minute. It is tried again by itself.',
        cause: error,
      });
    case '58P01':
      return new Failure('ChainBroken', `${name}: ${where} has removed WAL before it was archived (${said}).`, {
        next: 'Take a new base backup: it can be recovered from there on. Raise max_slot_wal_keep_size, and see why archiving had stopped.',
        cause: error,
      });
  }
  if (isBroken({ code, message })) {
    return new Failure('SourceUnreachable', `${name}: the connection to ${where} broke (${said}).`, {
      next: 'Is the server up, and the network sound? It is tried again by itself.',
      cause: error,
    });
  }
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code)) {
    return new Failure('SourceFailed', `${name}: streaming WAL from ${where} failed (${code}): ${said}`, {
      next: 'Look at its message, and into the log of the server; it is tried again by itself.',
      cause: error,
    });
  }
  return error;
}
