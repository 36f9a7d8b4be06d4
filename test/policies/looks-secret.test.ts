import { describe, expect, test } from '@jest/globals';
import { looksSecret } from '../../policies/looks-secret.ts';

describe('what is left out of messages', () => {
  test.each([
    ['an age identity', 'AGE-SECRET-KEY-1QQQQ'],
    ['a PEM key', '-----BEGIN PRIVATE KEY-----'],
    ['a URL with a password', 'postgresql://me:pw@db/shop'],
    ['a URL whose password has a slash', 'postgresql://me:p/w@db/shop'],
    ['a GitHub token', 'token ghp_0123456789'],
    ['an AWS key id', 'AKIAIOSFODNN7EXAMPLE'],
    ['an AWS secret key', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'],
    ['a hash', '9f86d081884c7d659a2feaa0c55ad015'],
    ['a password of letters and digits', 'the password is Troubadour3'],
    ['a password with special characters', 'tr0ub4dor&'],
  ])('is %s', (_what, text) => {
    expect(looksSecret(text)).toBe(true);
  });

  test.each([
    '24h',
    'us-east-1',
    'postgres-logical',
    'var/lib/postgresql/data/main',
    '/srv/a/path/with/very/many/folders/in/it',
    's3.example.com:9000',
    'https://s3.example.com',
    'backup@example.com',
    'STANDARD_IA',
    'a sentence that is rather long but says nothing',
    '16777216',
  ])('is not: %s', (text) => {
    expect(looksSecret(text)).toBe(false);
  });
});
