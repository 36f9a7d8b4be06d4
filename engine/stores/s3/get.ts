import { Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { assertRange, beyond, type Range } from '../range.ts';
import { steadyStream } from '../steady-stream.ts';
import type { Store } from '../store.ts';
import type { S3Context } from './context.ts';
import { asFailure, isS3Error } from './errors.ts';
import type { Versions } from './versions.ts';

/** Reading: when the connection breaks, the stream goes on with another one, in the same object or not at all. */
export function createGet(
  { client, at, call, place, options }: S3Context,
  versions: Versions,
  store: () => Store,
): Store['get'] {
  return async (key, range, signal) => {
    at(key);
    assertRange(key, range);
    const send = (Range: string | undefined, IfMatch?: string) =>
      versions.on(key, (where) =>
        client.send(
          new GetObjectCommand({ ...where, ...(Range ? { Range } : {}), ...(IfMatch ? { IfMatch } : {}) }),
          signal ? { abortSignal: signal } : {},
        ),
      );
    return call(key, async () => {
      signal?.throwIfAborted();
      if (range?.length === 0) return nothing(key, range);
      try {
        const { Body, ContentLength, ETag } = await send(range && headerOf(range.offset, range.length));
        const bytes = ContentLength ?? 0;
        const start = range?.offset ?? 0;
        return steadyStream({
          bytes,
          body: Body as Readable,
          reopen: async (done) => (await send(headerOf(start + done, bytes - done), ETag)).Body as Readable,
          failure: (error) => broken(key, error),
          signal,
        });
      } catch (error) {
        // There is no first byte to ask an empty object for.
        if (isS3Error(error, 'InvalidRange') && range?.offset === 0) return nothing(key, range);
        throw isS3Error(error, 'InvalidRange') ? beyond(place(key), range?.offset ?? 0) : error;
      }
    });
  };

  /** No bytes of an object that has the offset. */
  async function nothing(key: string, { offset }: Range): Promise<Readable> {
    const { bytes } = await store().head(key);
    if (offset > bytes || (offset === bytes && bytes > 0)) throw beyond(place(key), offset);
    return Readable.from([], { objectMode: false });
  }

  function broken(key: string, error: unknown): Error {
    const failure = asFailure(error, place(key), options);
    // The condition that it is the same object.
    if (isFailure(failure, 'ObjectExists')) {
      return new Failure('ChecksumMismatch', `${place(key)}: it became another object while it was read.`, {
        next: 'Read it again; find out who may overwrite objects there.',
        cause: error,
      });
    }
    if (isFailure(failure) || failure.name === 'AbortError') return failure;
    return new Failure('StoreUnreachable', `${place(key)}: the connection broke: ${failure.message}.`, {
      next: 'Look at the network; it is tried again by itself.',
      cause: error,
    });
  }
}

function headerOf(offset: number, length: number | undefined): string {
  return `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`;
}
