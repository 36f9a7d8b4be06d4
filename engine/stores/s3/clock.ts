import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { Failure } from '../../../policies/failure.ts';
import type { S3Context } from './context.ts';
import { assertListing } from './errors.ts';

/** The time at which the server answers, by its own clock (RFC 9110 §6.6.1). Asks what everybody who reads may ask. */
export async function readClock({ client, options, base, place }: S3Context): Promise<string> {
  const command = new ListObjectsV2Command({ Bucket: options.bucket, Prefix: base, MaxKeys: 1 });
  let date = Number.NaN;
  command.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      const { headers } = answer.response as { headers?: Record<string, string> };
      date = Date.parse(headers?.date ?? '');
      return answer;
    },
    { step: 'deserialize', name: 'readClock' },
  );
  const { Name } = await client.send(command);
  assertListing(place(''), Name);
  if (!Number.isNaN(date)) return new Date(date).toISOString();
  throw new Failure('StoreUnreachable', `${place('')} does not tell the time.`, {
    next: 'Let the proxies before it pass on the Date of its answers: ages are told by its clock.',
  });
}
