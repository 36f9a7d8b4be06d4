import { createServer, type Server } from 'node:net';

/** A server that speaks just enough of the protocol to answer SHOW, for versions that cannot be had. */
export async function fakePostgres(settings: Record<string, string>): Promise<{ port: number; close(): void }> {
  const message = (type: string, body: Buffer) => {
    const head = Buffer.alloc(5);
    head.write(type);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };
  const ready = message('Z', Buffer.from('I'));
  const answer = (sql: string) => {
    const column = sql.replace(/^SHOW /, '').replace(/\0$/, '');
    const value = Buffer.from(settings[column] ?? '');
    const length = Buffer.alloc(4);
    length.writeInt32BE(value.length);
    const description = Buffer.concat([
      Buffer.from([0, 1]),
      Buffer.from(`${column}\0`),
      Buffer.alloc(6),
      Buffer.from([0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0]),
    ]);
    const row = Buffer.concat([Buffer.from([0, 1]), length, value]);
    return Buffer.concat([message('T', description), message('D', row), message('C', Buffer.from('SHOW\0')), ready]);
  };
  const server: Server = createServer((socket) => {
    let started = false;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      if (!started) {
        // The request for TLS comes first; the answer is no.
        if (data.readInt32BE(4) === 80877103) {
          socket.write('N');
          return;
        }
        started = true;
        socket.write(Buffer.concat([message('R', Buffer.alloc(4)), ready]));
      } else if (data[0] === 0x51) socket.write(answer(data.toString('utf8', 5, data.length - 1)));
      else socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as { port: number }).port, close: () => server.close() };
}
