import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';

/** Sends stdin to S3 as a multipart upload, 8 MiB a part and ten at once: what `aws s3 cp - s3://…` does. */
const { endpoint, accessKeyId, secretAccessKey, bucket } = JSON.parse(process.env.BENCH_S3 ?? '{}');
const client = new S3Client({
  endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials: { accessKeyId, secretAccessKey },
});
const where = { Bucket: bucket, Key: 'stream' };
const { UploadId } = await client.send(new CreateMultipartUploadCommand(where));
const partBytes = 8 * 1024 * 1024;
const parts: { PartNumber: number; ETag: string }[] = [];
const underWay = new Set<Promise<void>>();
let chunks: Buffer[] = [];
let bytes = 0;
let number = 0;
for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
  chunks.push(chunk);
  bytes += chunk.length;
  if (bytes >= partBytes) await send();
}
await send();
await Promise.all(underWay);
parts.sort((a, b) => a.PartNumber - b.PartNumber);
await client.send(new CompleteMultipartUploadCommand({ ...where, UploadId, MultipartUpload: { Parts: parts } }));

async function send(): Promise<void> {
  const body = Buffer.concat(chunks);
  chunks = [];
  bytes = 0;
  const PartNumber = ++number;
  const job = client
    .send(new UploadPartCommand({ ...where, UploadId, PartNumber, Body: body }))
    .then(({ ETag }) => {
      parts.push({ PartNumber, ETag: ETag ?? '' });
    })
    .finally(() => underWay.delete(job));
  underWay.add(job);
  if (underWay.size >= 10) await Promise.race(underWay);
}
