import { loadPolicy, resolveSecret } from '../engine/config/index.ts';
import { isFailure } from '../policies/failure.ts';
import { ensureBucket } from './stack/s3.ts';

/** `make-buckets.ts POLICY`: makes the bucket of every S3 copy that names its own endpoint and keys. */

try {
  const policy = await loadPolicy(process.argv[2] ?? '');
  for (const copy of policy.copies) {
    if (copy.kind !== 's3' || !copy.endpoint || !copy.accessKeyId || !copy.secretAccessKey) continue;
    const server = {
      endpoint: copy.endpoint,
      region: copy.region,
      accessKeyId: await resolveSecret(copy.accessKeyId),
      secretAccessKey: await resolveSecret(copy.secretAccessKey),
    };
    await ensureBucket(server, copy.bucket);
    process.stdout.write(`${copy.name}: ${copy.bucket}\n`);
  }
} catch (error) {
  if (!isFailure(error)) throw error;
  process.stderr.write(`✗ ${error.message}\n  next: ${error.next}\n`);
  process.exitCode = error.exitCode;
}
