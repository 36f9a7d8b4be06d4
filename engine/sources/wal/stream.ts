import type pg from 'pg';
import { lsnText } from '../../../policies/wal.ts';

/**
 * START_REPLICATION of a physical slot (PostgreSQL manual, 55.4 Streaming Replication Protocol): raw bytes of one
 * timeline from any position on, and messages about how far the server is.
 */

export type WalEvent =
  | { kind: 'data'; lsn: bigint; bytes: Buffer }
  /** Everything before that position has come, and is all there was at that time of the server's clock (ISO-8601). */
  | { kind: 'caught up'; lsn: bigint; at: string }
  /** The timeline ends at this position, where another one goes on. */
  | { kind: 'timeline'; next: number; at: bigint };

/** Bytes that may wait here; the server waits beyond them. */
const queuedBytesMax = 4 * 1024 * 1024;
/** A server answers at once that it has ended. */
const finishWithinMs = 5_000;
/** Of messages: type, then positions and time. */
const dataHeaderBytes = 25;
/** PostgreSQL counts microseconds from 2000-01-01. */
const epochMs = Date.UTC(2000, 0, 1);

/** What the client's types leave out. */
interface CopyBoth {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

export interface StreamOptions {
  slot: string;
  timeline: number;
  start: bigint;
}

/** Starts streaming; the connection is for nothing else until its end. */
export function streamWal(client: pg.Client, { slot, timeline, start }: StreamOptions): WalStream {
  return client.query(
    new WalStream(`START_REPLICATION SLOT ${slot} PHYSICAL ${lsnText(start)} TIMELINE ${timeline}`, start),
  );
}

export class WalStream implements pg.Submittable {
  private readonly sql: string;
  private connection: (pg.Connection & CopyBoth) | null = null;
  private readonly queue: WalEvent[] = [];
  private queuedBytes = 0;
  /** The end of what has come. */
  private received: bigint;
  /** Where the server was at a time; once that has come, so is everything from before. */
  private mark: { lsn: bigint; at: string } | null = null;
  private lastAnswer: { lsn: bigint; at: string } | null = null;
  private ended = false;
  private isFinishing = false;
  private error: Error | null = null;
  private wake: () => void = () => {};

  constructor(sql: string, start: bigint) {
    this.sql = sql;
    this.received = start;
  }

  /** What comes, in order, until the timeline ends. Throws the server's error, and that of a connection that breaks. */
  async *events(): AsyncGenerator<WalEvent> {
    for (;;) {
      const event = this.queue.shift();
      if (event) {
        if (event.kind === 'data') this.taken(event.bytes.length);
        yield event;
      } else if (this.error) throw this.error;
      else if (this.ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }

  /**
   * Tells the server how far its WAL is safe, which lets it remove what lies before, and asks where it is now. To be
   * called every few seconds: a server ends a connection that is silent for a minute (wal_sender_timeout).
   */
  confirm(safe: bigint): void {
    const message = Buffer.alloc(34);
    message.write('r');
    // Written, flushed, applied: nobody here tells them apart.
    for (const at of [1, 9, 17]) message.writeBigUInt64BE(safe, at);
    message.writeBigInt64BE(BigInt(Date.now() - epochMs) * 1000n, 25);
    message[33] = 1;
    this.connection?.sendCopyFromChunk(message);
  }

  /**
   * Ends streaming in agreement with the server, so that the slot is free at once. What comes meanwhile is passed over;
   * events() is not to be asked any more. A server that does not answer is left after a few seconds.
   */
  async finish(): Promise<void> {
    this.isFinishing = true;
    this.queue.length = 0;
    const connection = this.connection;
    connection?.stream.resume();
    connection?.endCopyFrom();
    const giveUp = setTimeout(() => this.abandon(), finishWithinMs);
    while (!this.ended && !this.error) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    clearTimeout(giveUp);
  }

  /** Breaks the connection; events() throws. */
  abandon(): void {
    this.connection?.stream.destroy();
  }

  /** Called by the client; the rest of the class is too. */
  submit(connection: pg.Connection): void {
    const both = connection as pg.Connection & CopyBoth;
    this.connection = both;
    // At the end of the timeline the server says that it is done, and waits for us to say so, too.
    both.once('copyDone', () => {
      if (!this.isFinishing) both.endCopyFrom();
    });
    both.query(this.sql);
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (chunk[0] === 0x77) this.takeData(chunk);
    else if (chunk[0] === 0x6b) this.takeKeepalive(chunk);
  }

  handleRowDescription(): void {}

  /** The only row there is: the next timeline. */
  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    const [next, at] = fields;
    const [high = '0', low = '0'] = (at ?? '').split('/');
    this.put({ kind: 'timeline', next: Number(next), at: (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`) });
  }

  handleCommandComplete(): void {}

  handleError(error: Error): void {
    this.error = error;
    this.wake();
  }

  handleReadyForQuery(): void {
    this.ended = true;
    this.wake();
  }

  /** 'w': where the bytes begin, where the server's WAL ends, its time, the bytes. */
  private takeData(chunk: Buffer): void {
    // A copy: the client uses its memory again.
    const bytes = Buffer.from(chunk.subarray(dataHeaderBytes));
    const lsn = chunk.readBigUInt64BE(1);
    this.put({ kind: 'data', lsn, bytes });
    this.received = lsn + BigInt(bytes.length);
    this.lastAnswer = null;
    this.mark ??= { lsn: chunk.readBigUInt64BE(9), at: timeOf(chunk, 17) };
    if (this.received < this.mark.lsn) return;
    this.put({ kind: 'caught up', lsn: this.received, at: this.mark.at });
    this.mark = null;
  }

  /**
   * 'k': where it has sent to, its time. It may have written more by then; but when a second one names the same
   * position, with nothing sent between, there was nothing more at the time of the first.
   */
  private takeKeepalive(chunk: Buffer): void {
    const answer = { lsn: chunk.readBigUInt64BE(1), at: timeOf(chunk, 9) };
    const before = this.lastAnswer;
    this.lastAnswer = answer;
    if (before?.lsn !== answer.lsn || answer.lsn !== this.received) return;
    this.put({ kind: 'caught up', lsn: this.received, at: before.at });
  }

  private put(event: WalEvent): void {
    if (this.isFinishing) return;
    this.queue.push(event);
    if (event.kind === 'data') {
      this.queuedBytes += event.bytes.length;
      if (this.queuedBytes > queuedBytesMax) this.connection?.stream.pause();
    }
    this.wake();
  }

  private taken(bytes: number): void {
    this.queuedBytes -= bytes;
    if (this.queuedBytes < queuedBytesMax / 2) this.connection?.stream.resume();
  }
}

function timeOf(chunk: Buffer, at: number): string {
  return new Date(epochMs + Number(chunk.readBigInt64BE(at) / 1000n)).toISOString();
}
