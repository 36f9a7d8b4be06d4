import { afterAll } from '@jest/globals';
import type { Store } from '../../engine/stores/index.ts';
import { describeSending } from '../activities/sending.ts';
import { makeGuardedBucket } from '../support/guarded-bucket.ts';
import { s3Store } from '../support/s3-store.ts';
import { services } from '../support/services.ts';

/** In a bucket that locks what is put, with nothing but the credentials of a transfer worker. */

let store: Store | undefined;
afterAll(() => store?.close());

describeSending(async () => {
  const { s3 } = await services();
  const guarded = await makeGuardedBucket(s3.east);
  store = s3Store(guarded.as('write'), guarded.bucket, { name: 'near' });
  return { store, takesEarly: true, lock: { mode: 'compliance', keepMs: 1000 } };
});
