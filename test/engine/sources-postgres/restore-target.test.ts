import { describe, expect, test } from '@jest/globals';
import { restoreUri } from '../../../engine/sources/index.ts';

const targets = [
  { host: 'db2', port: 5432, user: 'restorer', password: 'env:DB2' },
  { host: 'db2', port: 5433, user: 'restorer', password: 'env:OTHER' },
  { host: 'trusting', port: 5432, user: 'restorer' },
];
const resolveSecret = async (ref: string) => `p@ss of ${ref}`;
const into = (uri: string, among = targets) => restoreUri(uri, among, resolveSecret);

describe('the password of a database to restore into', () => {
  test('joins for the server and user that the policy names', async () => {
    await expect(into('postgresql://restorer@db2/fresh')).resolves.toBe(
      'postgresql://restorer:p%40ss%20of%20env%3ADB2@db2/fresh',
    );
    await expect(into('postgresql://restorer@db2:5433/fresh')).resolves.toContain('env%3AOTHER');
  });

  test('is left out where the policy has none', async () => {
    await expect(into('postgresql://restorer@trusting/fresh')).resolves.toBe('postgresql://restorer@trusting/fresh');
  });

  const strangers = [
    ['another host', 'postgresql://restorer@elsewhere/fresh'],
    ['another port', 'postgresql://restorer@db2:6000/fresh'],
    ['another user', 'postgresql://postgres@db2/fresh'],
    ['another host in the query', 'postgresql://restorer@db2/fresh?host=elsewhere'],
    ['another port in the query', 'postgresql://restorer@db2/fresh?port=6000'],
  ] as const;

  test.each(strangers)('goes to no %s, and no backup goes there', async (_what, uri) => {
    await expect(into(uri)).rejects.toMatchObject({ type: 'TargetUnusable' });
  });

  test.each(strangers)('goes to no %s where the policy names no server: there none has one', async (_what, uri) => {
    await expect(into(uri, [])).resolves.toBe(uri);
  });

  test.each(['postgresql://restorer:hush@db2/fresh', 'postgresql://restorer@db2/fresh?password=hush'])(
    'is not taken from who asks: %s',
    async (uri) => {
      await expect(into(uri)).rejects.toMatchObject({
        type: 'UsageInvalid',
        message: expect.not.stringContaining('hush'),
      });
    },
  );
});
