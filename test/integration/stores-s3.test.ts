import { describeStore } from '../engine/stores/conformance.ts';
import { s3Fixture, versitygwHas } from '../support/s3-store.ts';
import { makeBucket, services } from '../support/services.ts';

/** The contract of the stores on the S3 server of the embedded stack. */

describeStore('s3 on versitygw', async () => {
  const { east } = (await services()).s3;
  return s3Fixture(east, { bucket: await makeBucket(east), has: versitygwHas });
});

describeStore('s3 on versitygw, below a prefix of a bucket with versions and Object Lock', async () => {
  const { east } = (await services()).s3;
  const bucket = await makeBucket(east, { objectLock: true });
  return s3Fixture(east, { bucket, prefix: 'backups/shop', has: { ...versitygwHas, lock: true, versioning: true } });
});
