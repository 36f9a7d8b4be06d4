import { type Policy, policySchema } from '../../policies/policy.ts';

/** A key pair's public half, made for these tests; nobody holds the other. */
export const recipient = 'age1ee0u2k4n8eklpmxl7qn8mrfuvlxk0gfys6k049h0ylqutncuvffq9w0yd9';

/** A policy that keeps the 3-2-1 rule, with some keys replaced. */
export function policyOf(replaced: Record<string, unknown> = {}): Policy {
  return policySchema.parse({
    version: 1,
    site: { region: 'us-east-1' },
    catalog: { dsn: 'env:CATALOG_DSN' },
    keys: {
      recipients: [recipient],
      signing: 'file:/etc/backup/signing.pem',
      trusted: ['11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='],
      identity: 'file:/etc/backup/identity.txt',
    },
    staging: { path: '/var/lib/backup/staging' },
    copies: [
      { kind: 'directory', name: 'local', region: 'us-east-1', path: '/srv/backup' },
      { kind: 's3', name: 'offsite', region: 'us-west-2', bucket: 'backup-offsite' },
    ],
    ...replaced,
  });
}
