import { describe, expect, test } from '@jest/globals';
import { restoreUri } from '../../../engine/sources/index.ts';

const targets = [
  { host: 'db2', port: 5432, user: 'restorer', password: 'env:DB2' },
  { host: 'db2', port: 5433, user: 'restorer', password: 'env:OTHER' },
];
const resolveSecret = async (ref: string) => `p@ss of ${ref}`;
const into = (uri: string) => restoreUri(uri, targets, resolveSecret);

describe('the password of a database to restore into', () => {
  test('joins for the server and user that the policy names', async () => {
    await expect(into('postgresql://restorer@db2/fresh')).resolves.toBe(
      'postgresql://restorer:p%40ss%20of%20env%3ADB2@db2/fresh',
    );
    await expect(into('postgresql://restorer@db2:5433/fresh')).resolves.toContain('env%3AOTHER');
  });

  test.each([
    ['another host', 'postgresql://restorer@elsewhere/fresh'],
    ['another port', 'postgresql://restorer@db2:6000/fresh'],
    ['another user', 'postgresql://postgres@db2/fresh'],
    ['another host in the query', 'postgresql://restorer@db2/fresh?host=elsewhere'],
    ['another port in the query', 'postgresql://restorer@db2/fresh?port=6000'],
  ])('goes to no %s', async (_what, uri) => {
    await expect(into(uri)).resolves.toBe(uri);
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
