import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout } from 'node:timers/promises';

/** A way to a server that a test can make slow, count, and break. */
export interface TcpProxy {
  port: number;
  /** Bytes that went on to the server. */
  sent(): number;
  /** Bytes per second towards the server, over all connections; null: as fast as it goes. */
  limit(bytesPerSecond: number | null): void;
  /** `up`: passes everything on; `down`: refuses and cuts connections; `mute`: takes everything and answers nothing. */
  set(state: ProxyState): void;
  stop(): Promise<void>;
}

export type ProxyState = 'up' | 'down' | 'mute';

const sliceMs = 20;

/** Stands between clients and a server of 127.0.0.1. */
export async function startTcpProxy(toPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let state: ProxyState = 'up';
  let bytesPerSecond: number | null = null;
  let sent = 0;
  /** When the next byte may pass, for all connections together. */
  let free = 0;

  async function wait(bytes: number): Promise<void> {
    if (bytesPerSecond === null) return;
    free = Math.max(free, performance.now()) + (bytes / bytesPerSecond) * 1000;
    while (bytesPerSecond !== null && performance.now() < free) await setTimeout(sliceMs);
  }

  const server: Server = createServer((client) => {
    sockets.add(client);
    client.once('close', () => sockets.delete(client)).on('error', () => {});
    if (state === 'down') {
      client.destroy();
      return;
    }
    const upstream = dial(toPort, '127.0.0.1');
    sockets.add(upstream);
    upstream.once('close', () => sockets.delete(upstream));
    // What one side has broken is broken for the other; what it has ended in order flows out first.
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        void wait(chunk.length).then(() => {
          sent += chunk.length;
          done(null, chunk);
        });
      },
    });
    const gate = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (state === 'mute') done();
        else done(null, chunk);
      },
    });
    client.pipe(meter).pipe(upstream);
    upstream.pipe(gate).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    sent: () => sent,
    limit(rate) {
      bytesPerSecond = rate;
      free = 0;
    },
    set(next) {
      state = next;
      if (next === 'down') cut();
    },
    async stop() {
      bytesPerSecond = null;
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
