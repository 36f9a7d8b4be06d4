import { type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { S3Service } from './shared.ts';

/** A request to an S3 server, as far as tests look at it. */
export interface SeenRequest {
  /** As AWS calls it, e.g. `UploadPart`. */
  operation: string;
  /** Path without the bucket, decoded. */
  key: string;
  /** Of what is listed; '' where nothing is. */
  prefix: string;
  headers: IncomingMessage['headers'];
}

export type Fault =
  /** The server does as asked; the client never hears of it. */
  | 'lose the answer'
  /** The connection is cut before the server hears of it. */
  | 'cut'
  /** The server does as asked; the client gets no answer, and keeps the connection. */
  | 'hang'
  /** The answer's body breaks off after so many bytes. */
  | { cutAfter: number }
  /** The answer's body stops after so many bytes, and the connection stays. */
  | { stallAfter: number }
  /** The server hears of it later. */
  | { delayMs: number }
  /** The body is taken from the client no faster than this. */
  | { bytesPerSecond: number }
  /** The server never hears of it; this is the answer. */
  | { status: number; code: string }
  /** The server never hears of it; the test does with the body what it likes, and 200 is the answer. */
  | { instead: (body: Buffer) => Promise<unknown> };

/** An S3 server behind a network, and a server, that can be made to fail. */
export interface S3Proxy extends S3Service {
  /** All that came, in order. */
  seen: SeenRequest[];
  /** What is done to each request; null: nothing. */
  meddle: (seen: SeenRequest) => Fault | null;
  /** Connections of clients that are open. */
  connections(): number;
  stop(): Promise<void>;
}

/** Stands before the server; signatures stay valid, for they name the host that the client asked. */
export async function startS3Proxy(service: S3Service): Promise<S3Proxy> {
  const upstream = new URL(service.endpoint);
  const sockets = new Set<Socket>();
  const server = createServer((incoming, outgoing) => {
    const seen = lookAt(incoming);
    proxy.seen.push(seen);
    const fault = proxy.meddle(seen);
    if (fault === 'cut') incoming.socket.destroy();
    else if (typeof fault === 'object' && fault && 'status' in fault) refuse(incoming, outgoing, fault);
    else if (typeof fault === 'object' && fault && 'instead' in fault)
      void doInstead(incoming, outgoing, fault.instead);
    else setTimeout(() => pass(incoming, outgoing, fault), isDelay(fault) ? fault.delayMs : 0);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket)).on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const proxy: S3Proxy = {
    ...service,
    endpoint: `http://127.0.0.1:${port}`,
    seen: [],
    meddle: () => null,
    connections: () => sockets.size,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;

  function pass(incoming: IncomingMessage, outgoing: ServerResponse, fault: Fault | null): void {
    const { method, url, rawHeaders: headers } = incoming;
    const onward = request({ host: upstream.hostname, port: upstream.port, method, path: url, headers });
    incoming.once('close', () => incoming.complete || onward.destroy());
    onward.once('error', () => incoming.socket.destroy());
    onward.once('response', (answer) => {
      if (fault === 'lose the answer') incoming.socket.destroy();
      // A client that has lost patience has gone; so the answer goes nowhere.
      if (fault === 'hang' || fault === 'lose the answer' || outgoing.destroyed) return void answer.resume();
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      if (typeof fault === 'object' && fault && ('cutAfter' in fault || 'stallAfter' in fault)) {
        return void breakOff(answer, outgoing, fault);
      }
      pipeline(answer, outgoing, () => {});
    });
    if (typeof fault === 'object' && fault && 'bytesPerSecond' in fault) void trickle(incoming, onward, fault);
    else incoming.pipe(onward);
  }
}

async function trickle(from: IncomingMessage, to: ClientRequest, { bytesPerSecond }: { bytesPerSecond: number }) {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    to.write(chunk);
    await wait((chunk.length / bytesPerSecond) * 1000);
  }
  to.end();
}

async function breakOff(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  fault: { cutAfter: number } | { stallAfter: number },
): Promise<void> {
  let left = 'cutAfter' in fault ? fault.cutAfter : fault.stallAfter;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    const piece = chunk.subarray(0, left);
    left -= piece.length;
    await new Promise((resolve) => outgoing.write(piece, resolve));
    if (left > 0) continue;
    if ('cutAfter' in fault) outgoing.socket?.destroy();
    return;
  }
  outgoing.end();
}

async function doInstead(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  work: (body: Buffer) => Promise<unknown>,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  await work(Buffer.concat(chunks));
  outgoing.writeHead(200, { etag: '"0"', 'content-length': 0 }).end();
}

function refuse(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { status, code }: { status: number; code: string },
) {
  incoming.resume();
  incoming.once('end', () => {
    const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>as told</Message></Error>`;
    outgoing.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length });
    outgoing.end(incoming.method === 'HEAD' ? '' : body);
  });
}

function isDelay(fault: Fault | null): fault is { delayMs: number } {
  return typeof fault === 'object' && fault !== null && 'delayMs' in fault;
}

function lookAt({ method = '', url = '', headers }: IncomingMessage): SeenRequest {
  const { pathname, searchParams } = new URL(url, 'http://host');
  const [, , ...key] = pathname.split('/').map(decodeURIComponent);
  return {
    operation: operationOf(method, key.join('/'), searchParams, headers),
    key: key.join('/'),
    prefix: searchParams.get('prefix') ?? '',
    headers,
  };
}

function operationOf(method: string, key: string, query: URLSearchParams, headers: IncomingMessage['headers']): string {
  const isCopy = headers['x-amz-copy-source'] !== undefined;
  if (query.has('partNumber')) return isCopy ? 'UploadPartCopy' : 'UploadPart';
  if (query.has('uploads')) return method === 'POST' ? 'CreateMultipartUpload' : 'ListMultipartUploads';
  if (query.has('uploadId')) {
    return { POST: 'CompleteMultipartUpload', DELETE: 'AbortMultipartUpload', GET: 'ListParts' }[method] ?? method;
  }
  const verb = { GET: 'Get', HEAD: 'Head', PUT: 'Put', DELETE: 'Delete' }[method] ?? method;
  for (const part of ['tagging', 'retention', 'legal-hold', 'versions', 'versioning', 'object-lock']) {
    if (query.has(part)) return `${verb} ${part}`;
  }
  return key === '' ? `${verb}Bucket` : `${verb}Object`;
}
