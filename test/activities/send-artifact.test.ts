import { afterAll, describe } from '@jest/globals';
import type { GrowingSource, PutSource, Store } from '../../engine/stores/store.ts';
import { makeStores } from '../engine/catalog/points.ts';
import { describeSending } from './sending.ts';

const made = makeStores('near', 'far');
afterAll(() => made.remove());

const [near, far] = made.stores;

describe('to a folder of the same file system', () => {
  describeSending(async () => ({ store: there(near), takesEarly: false }));
});

describe('to a folder of another file system, to which nothing can be linked', () => {
  describeSending(async () => ({ store: copying(there(far)), takesEarly: true }));
});

function there(store: Store | undefined): Store {
  if (!store) throw new Error('no store');
  return store;
}

/** One that knows no source as a file. */
function copying(store: Store): Store {
  const bytesOf = <S extends PutSource | GrowingSource>(source: S): S => ({ ...source, path: undefined });
  return {
    ...store,
    put: (key, source, options) => store.put(key, bytesOf(source), options),
    beginPut: (key, source, options) => store.beginPut(key, bytesOf(source), options),
  };
}
