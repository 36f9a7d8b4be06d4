import { createHash, createHmac } from 'node:crypto';
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import { bucketPolicy } from '../../policies/bucket-policy.ts';
import type { StoreAccess } from '../../policies/credentials.ts';
import { Failure } from '../../policies/failure.ts';
import { type S3Access, type S3Keys, s3Client } from './s3.ts';

/** One user of the server per kind of access. */
export type S3Users = Record<StoreAccess, S3Keys>;

/**
 * Makes the users where they are not there, gives them the secrets they should have, and the rights on the bucket that
 * policies/bucket-policy.ts lists. Idempotent. Throws StoreDenied with the server's reason.
 *
 * @param server with the keys of its root user
 */
export async function ensureUsers(server: S3Access, bucket: string, users: S3Users): Promise<void> {
  for (const user of Object.values(users)) await ensureUser(server, user);
  const id = (access: StoreAccess) => users[access].accessKeyId;
  const policy = bucketPolicy({
    bucket,
    principals: { write: id('write'), read: id('read'), delete: id('delete'), hold: id('hold'), rekey: id('rekey') },
  });
  const client = s3Client(server);
  try {
    await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify(policy) }));
  } catch (error) {
    throw refused(server, `the rights on ${bucket} cannot be set: ${(error as Error).message}`, error);
  } finally {
    client.destroy();
  }
}

/** By versitygw's admin API; its command would show the secrets to everybody who lists processes. */
async function ensureUser(server: S3Access, { accessKeyId, secretAccessKey }: S3Keys): Promise<void> {
  const secret = `<Secret>${asXml(secretAccessKey)}</Secret>`;
  const made = await admin(
    server,
    '/create-user',
    {},
    `<Account><Access>${asXml(accessKeyId)}</Access>${secret}<Role>user</Role></Account>`,
  );
  if (made.status !== 409) return assertDone(server, made);
  assertDone(
    server,
    await admin(server, '/update-user', { access: accessKeyId }, `<MutableProps>${secret}</MutableProps>`),
  );
}

interface Answer {
  status: number;
  text: string;
}

function assertDone(server: S3Access, { status, text }: Answer): void {
  if (status >= 200 && status < 300) return;
  const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? 'no reason given';
  throw refused(server, `its users cannot be made: HTTP ${status}, ${code}`);
}

async function admin(server: S3Access, path: string, query: Record<string, string>, body: string): Promise<Answer> {
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  const url = new URL(path, endpoint);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const signer = new SignatureV4({
    service: 's3',
    region,
    credentials: { accessKeyId, secretAccessKey },
    sha256: Sha256,
    applyChecksum: true,
  });
  const signed = await signer.sign({
    method: 'PATCH',
    protocol: url.protocol,
    hostname: url.hostname,
    port: Number(url.port),
    path,
    query,
    headers: { host: url.host, 'content-type': 'application/xml' },
    body,
  });
  const response = await fetch(url, { method: 'PATCH', headers: signed.headers, body });
  return { status: response.status, text: await response.text() };
}

/** SHA-256, or its HMAC when there is a key, as the signer wants it. */
class Sha256 {
  private readonly hash;
  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = key === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(key));
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.hash.update(bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
  reset(): void {}
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

function asXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function refused({ endpoint }: S3Access, what: string, cause?: unknown): Failure {
  return new Failure('StoreDenied', `The S3 server at ${endpoint}: ${what}.`, {
    next: "Look at the server's log beside its folder; are the keys those of its root user?",
    cause,
  });
}
