import type pg from 'pg';

/**
 * The BASE_BACKUP command (PostgreSQL manual, 55.4 Streaming Replication Protocol), as of version 15: two result sets
 * (start; tablespaces), one stream of typed messages (archives, their bytes, the manifest), one more result set (end).
 * Spoken directly: pg_basebackup writes more than one tablespace into files only, which would need the disk twice.
 */

export interface Tablespace {
  /** Null for the data directory itself. */
  oid: string | null;
  /** Where it lies on the server; relative to the data directory for one that lies in place. */
  location: string | null;
  /** The server's estimate. */
  bytes: number;
}

export type BackupEvent =
  | { kind: 'start'; lsn: string; timeline: number; tablespaces: Tablespace[] }
  /** A tar archive begins: that of a tablespace, or with null that of the data directory. */
  | { kind: 'archive'; tablespace: string | null }
  /** The backup manifest begins. */
  | { kind: 'manifest' }
  /** The bytes are to be taken out before the next event is asked for: their memory is used again. */
  | { kind: 'data'; bytes: Buffer }
  | { kind: 'end'; lsn: string; timeline: number };

export interface BaseBackupOptions {
  label: string;
  checkpoint: 'fast' | 'spread';
}

/** Messages of 32 KiB are gathered into pieces of this size; so many may wait here, and the server waits beyond them. */
const slabBytes = 512 * 1024;
const queuedBytesMax = 4 * 1024 * 1024;

/** Starts a base backup with the WAL it needs, page checksums verified by the server as it reads. */
export function baseBackup(client: pg.Client, { label, checkpoint }: BaseBackupOptions): BaseBackup {
  const options = [
    `LABEL '${label.replaceAll("'", "''")}'`,
    'PROGRESS',
    `CHECKPOINT '${checkpoint}'`,
    'WAL true',
    // Whether an archiver gets on does not matter: the WAL that is needed comes along.
    'WAIT false',
    "MANIFEST 'yes'",
    "MANIFEST_CHECKSUMS 'CRC32C'",
    'VERIFY_CHECKSUMS true',
  ];
  return client.query(new BaseBackup(`BASE_BACKUP (${options.join(', ')})`));
}

export class BaseBackup implements pg.Submittable {
  private readonly sql: string;
  private connection: pg.Connection | null = null;
  private readonly queue: { event: BackupEvent; done?: Buffer }[] = [];
  private queuedBytes = 0;
  private slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
  /** Of the slab: what is in the queue, and what has come. */
  private queuedTo = 0;
  private filledTo = 0;
  /** Slabs to be used again. */
  private readonly free: Buffer[] = [];
  private resultSets = 0;
  private row: (string | null)[] = [];
  private start: { lsn: string; timeline: number } | null = null;
  private readonly tablespaces: Tablespace[] = [];
  private ended = false;
  private error: Error | null = null;
  private wake: () => void = () => {};

  constructor(sql: string) {
    this.sql = sql;
  }

  /** What the server sends, in order. Throws its error, and that of a connection that breaks. */
  async *events(): AsyncGenerator<BackupEvent> {
    for (;;) {
      const next = this.queue.shift();
      if (next) {
        yield next.event;
        if (next.event.kind === 'data') this.taken(next.event.bytes.length);
        if (next.done) this.free.push(next.done);
      } else if (this.filledTo > this.queuedTo) this.pass();
      else if (this.error) throw this.error;
      else if (this.ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }

  /** Breaks the connection: the server ends the backup, and events() throws. */
  abandon(): void {
    this.connection?.stream.destroy();
  }

  /** Called by the client; the rest of the class is too. */
  submit(connection: pg.Connection): void {
    this.connection = connection;
    connection.query(this.sql);
  }

  handleRowDescription(): void {
    this.resultSets++;
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.row = fields;
    if (this.resultSets !== 2) return;
    const [oid, location, size] = fields;
    this.tablespaces.push({ oid: oid ?? null, location: location ?? null, bytes: Number(size ?? 0) * 1024 });
  }

  handleCommandComplete(): void {
    const position = () => ({ lsn: String(this.row[0]), timeline: Number(this.row[1]) });
    if (this.resultSets === 1 && !this.start) this.start = position();
    else if (this.resultSets === 2 && this.start) {
      this.put({ kind: 'start', ...this.start, tablespaces: this.tablespaces });
      this.start = null;
    } else if (this.resultSets === 3) {
      this.put({ kind: 'end', ...position() });
      this.resultSets++;
    }
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    switch (String.fromCharCode(chunk[0] ?? 0)) {
      case 'd':
        this.gather(chunk);
        break;
      case 'n': {
        // `OID.tar` or `base.tar`, then its location.
        const [name = ''] = chunk.toString('latin1', 1).split('\0');
        this.put({ kind: 'archive', tablespace: /^(\d+)\.tar$/.exec(name)?.[1] ?? null });
        break;
      }
      case 'm':
        this.put({ kind: 'manifest' });
        break;
      // 'p' is progress, which we count ourselves.
    }
  }

  handleError(error: Error): void {
    this.error = error;
    this.wake();
  }

  handleReadyForQuery(): void {
    this.ended = true;
    this.wake();
  }

  /** Copies a message's bytes, for the client uses its memory again. */
  private gather(chunk: Buffer): void {
    for (let at = 1; at < chunk.length; ) {
      const copied = chunk.copy(this.slab, this.filledTo, at);
      at += copied;
      this.filledTo += copied;
      if (this.filledTo < this.slab.length) continue;
      this.pass(this.slab);
      this.slab = this.free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
      this.queuedTo = 0;
      this.filledTo = 0;
    }
    // Whoever waits takes what there is.
    this.wake();
  }

  /** Queues what has come. @param done a slab that is full, to be used again afterwards */
  private pass(done?: Buffer): void {
    if (this.filledTo === this.queuedTo) return;
    const bytes = this.slab.subarray(this.queuedTo, this.filledTo);
    this.queuedTo = this.filledTo;
    this.queue.push({ event: { kind: 'data', bytes }, ...(done ? { done } : {}) });
    this.queuedBytes += bytes.length;
    if (this.queuedBytes > queuedBytesMax) this.connection?.stream.pause();
  }

  private put(event: BackupEvent): void {
    this.pass();
    this.queue.push({ event });
    this.wake();
  }

  private taken(bytes: number): void {
    this.queuedBytes -= bytes;
    if (this.queuedBytes < queuedBytesMax / 2) this.connection?.stream.resume();
  }
}
