import { Readable } from 'node:stream';
import type { Catalog } from '../../../engine/catalog/index.ts';
import type { PutSource, Store } from '../../../engine/stores/store.ts';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { hangingDisk } from '../../support/hanging-disk.ts';
import type { Fault as S3Fault, SeenRequest } from '../../support/s3-proxy.ts';
import type { TcpProxy } from '../../support/tcp-proxy.ts';

/** Where a job calls something that may fail. */
export type Layer = 'disk' | 's3' | 'catalog';

/** What goes wrong at one call; see below for what each means in its layer. */
export type Kind = 'error' | 'lost reply' | 'partial' | 'hang' | 'SlowDown' | 'cut';

export interface Planned {
  layer: Layer;
  /** The number of the call, from 0. */
  call: number;
  kind: Kind;
}

/** Counts the calls of one job, and lets one of them go wrong. */
export class Faults {
  readonly calls: Record<Layer, string[]> = { disk: [], s3: [], catalog: [] };
  /** What has gone wrong. Null: the call that was meant did not come. */
  struck: string | null = null;
  readonly planned: Planned | null;
  private slowDowns = 0;
  /** What the folder of the job stands on. */
  readonly drive = hangingDisk();

  constructor(planned: Planned | null) {
    this.planned = planned;
  }

  private strikes(layer: Layer, name: string): Kind | null {
    const call = this.calls[layer].push(name) - 1;
    if (this.planned?.layer !== layer || this.planned.call !== call) return null;
    this.struck = name;
    return this.planned.kind;
  }

  /**
   * A folder on the drive that fails: before it does as asked, after it, or in the middle of the bytes; or that hangs, until
   * somebody was refused for it.
   */
  readonly disk = (store: Store): Store =>
    new Proxy(store, {
      get: (target, name: keyof Store) => {
        const method = target[name];
        if (typeof method !== 'function' || name === 'close') return method;
        return (...args: unknown[]) => {
          const kind = this.strikes('disk', `${name} ${typeof args[0] === 'string' ? args[0].split('/').at(-1) : ''}`);
          const call = (given = args) => (method as (...a: unknown[]) => unknown).apply(target, given);
          if (this.planned?.kind === 'hang') {
            if (kind === 'hang') this.drive.hang(0, 'before it is done');
            return this.untilRefused(call());
          }
          return kind === null ? call() : broken(name, kind, args, call);
        };
      },
    });

  /** The same, and when it was refused, because an earlier call has not returned, that one goes on. */
  private untilRefused(answer: unknown): unknown {
    const told = (error: unknown): never => {
      if (isFailure(error, 'StoreUnreachable') && error.message.includes('has not answered since')) this.drive.goOn();
      throw error;
    };
    if (answer instanceof Promise) return answer.catch(told);
    return (async function* () {
      try {
        yield* answer as AsyncIterable<unknown>;
      } catch (error) {
        told(error);
      }
    })();
  }

  /** An S3 server behind a bad network. */
  readonly s3 = ({ operation, key }: SeenRequest): S3Fault | null => {
    // More often than the client bridges by itself: then it is for the workflow to try again.
    if (this.slowDowns > 0) {
      this.slowDowns -= 1;
      return slowDown;
    }
    switch (this.strikes('s3', `${operation} ${key.split('/').at(-1)}`)) {
      case 'error':
        return 'cut';
      case 'lost reply':
        return 'lose the answer';
      case 'partial':
        return { cutAfter: 10 };
      case 'hang':
        return 'hang';
      case 'SlowDown':
        this.slowDowns = 7;
        return slowDown;
      default:
        return null;
    }
  };

  /** A catalog whose answer is lost, or that is cut off, or hangs, from before the call until it has failed. */
  readonly catalog = (catalog: Catalog, line: TcpProxy): Catalog => {
    const wrap = <T extends object>(part: T): T =>
      new Proxy(part, {
        get: (target, name) => {
          const member = Reflect.get(target, name) as unknown;
          if (name === 'retention') return wrap(member as object);
          if (typeof member !== 'function' || name === 'close') return member;
          return async (...args: unknown[]) => {
            const kind = this.strikes('catalog', String(name));
            if (kind === 'cut') line.set('down');
            if (kind === 'hang') line.set('mute');
            try {
              const answer: unknown = await (member as (...a: unknown[]) => unknown).apply(target, args);
              if (kind === 'lost reply')
                throw new Failure('CatalogUnreachable', 'the answer is lost', { next: 'Wait.' });
              return answer;
            } finally {
              if (kind === 'cut' || kind === 'hang') line.set('up');
            }
          };
        },
      });
    return wrap(catalog);
  };
}

const slowDown: S3Fault = { status: 503, code: 'SlowDown' };

const away = () => new Failure('StoreUnreachable', 'the disk does not answer', { next: 'Look at the disk.' });

function broken(name: keyof Store, kind: Kind, args: unknown[], call: (given?: unknown[]) => unknown): unknown {
  if (name === 'list' || name === 'listPending') return brokenList(kind, call() as AsyncIterable<unknown>);
  return (async () => {
    if (kind === 'error') throw away();
    if (kind === 'partial' && (name === 'put' || name === 'beginPut')) {
      return call([args[0], breakingSource(args[1] as PutSource), ...args.slice(2)]);
    }
    const answer = await call();
    if (name === 'get') {
      if (kind === 'partial') return breaking(answer as Readable);
      (answer as Readable).destroy();
    }
    throw away();
  })();
}

async function* brokenList(kind: Kind, list: AsyncIterable<unknown>): AsyncIterable<unknown> {
  if (kind === 'error') throw away();
  for await (const item of list) {
    yield item;
    if (kind === 'partial') break;
  }
  throw away();
}

/** Gives one byte, and then its disk fails. */
function breaking(whole: Readable): Readable {
  return Readable.from(
    (async function* () {
      for await (const chunk of whole as AsyncIterable<Buffer>) {
        yield chunk.subarray(0, 1);
        throw away();
      }
    })(),
    { objectMode: false },
  );
}

function breakingSource(source: PutSource): PutSource {
  const { bytes, sha256 } = source;
  return { bytes, sha256, open: (offset, length) => breaking(source.open(offset, length)) };
}
