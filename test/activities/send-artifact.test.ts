import { afterAll } from '@jest/globals';
import { makeStores } from '../engine/catalog/points.ts';
import { describeSending } from './sending.ts';

const made = makeStores('near');
afterAll(() => made.remove());

describeSending(async () => {
  const [store] = made.stores;
  if (!store) throw new Error('no store');
  return { store, takesEarly: false };
});
