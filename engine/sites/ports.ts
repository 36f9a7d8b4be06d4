import { createServer } from 'node:net';

/** The preferred port of 127.0.0.1 when it is free, any free one otherwise. */
export async function freePort(preferred?: number): Promise<number> {
  return (preferred ? await tryPort(preferred) : null) ?? (await tryPort(0)) ?? fail();
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : null));
    });
  });
}

function fail(): never {
  throw new Error('no port of 127.0.0.1 is free');
}
