import type { PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';

/** Signs a request by the SHA-256 of its body that is known already, so that the SDK does not read it once more. */
export function signedBy<T extends PutObjectCommand | UploadPartCommand>(command: T, sha256: Buffer): T {
  const stack = command.middlewareStack as PutObjectCommand['middlewareStack'];
  stack.add(
    (next) => (args) => {
      const request = args.request as { headers: Record<string, string> };
      request.headers['x-amz-content-sha256'] = sha256.toString('hex');
      return next(args);
    },
    { step: 'build', name: 'knownPayloadHash' },
  );
  return command;
}
