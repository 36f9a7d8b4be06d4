import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadPolicy, resolveSecret, secretsAmong } from '../../../engine/config/index.ts';

describe('secrets', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'secrets-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(path.join(dir, name), text, { mode });
    return `file:${path.join(dir, name)}`;
  };

  test('come from the environment', async () => {
    process.env.SECRETS_TEST = 'hush';
    await expect(resolveSecret('env:SECRETS_TEST')).resolves.toBe('hush');
    delete process.env.SECRETS_TEST;
    await expect(resolveSecret('env:SECRETS_TEST')).rejects.toMatchObject({
      type: 'SecretMissing',
      message: expect.stringContaining('env:SECRETS_TEST'),
    });
  });

  test('come from files, without the newline at the end and with all else', async () => {
    await expect(resolveSecret(file('a', 'hush\n'))).resolves.toBe('hush');
    await expect(resolveSecret(file('b', ' two\nlines \r\n'))).resolves.toBe(' two\nlines ');
  });

  test('in an empty or missing file are missing', async () => {
    await expect(resolveSecret(file('c', '\n'))).rejects.toMatchObject({
      type: 'SecretMissing',
      message: expect.stringContaining('is empty'),
    });
    await expect(resolveSecret(`file:${dir}/none`)).rejects.toMatchObject({
      message: expect.stringContaining('ENOENT'),
    });
  });

  test('written into the policy itself are refused, and not repeated', async () => {
    await expect(resolveSecret('hunter2')).rejects.toMatchObject({ message: expect.not.stringContaining('hunter2') });
  });

  test('of one holder are not given to another', async () => {
    const mine = file('mine', 'hush');
    const resolve = secretsAmong([mine], 'the transfer worker');
    await expect(resolve(mine)).resolves.toBe('hush');
    for (const ref of [file('theirs', 'theirs'), `${mine}x`, 'env:HOME']) {
      await expect(resolve(ref)).rejects.toMatchObject({
        type: 'SecretMissing',
        message: expect.stringContaining(`${ref} cannot be had: it is none of those that the transfer worker is given`),
      });
    }
    await expect(resolve('hunter2')).rejects.toMatchObject({ message: expect.not.stringContaining('hunter2') });
  });

  test('that everybody may read are warned of, once', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const ref = file('open', 'hush', 0o644);
    await resolveSecret(ref);
    await resolveSecret(ref);
    await resolveSecret(file('closed', 'hush'));
    expect(warn.mock.calls).toEqual([[expect.stringContaining('chmod 0600')]]);
    warn.mockRestore();
  });
});

describe('a policy file', () => {
  test('that is not there is named', async () => {
    await expect(loadPolicy('/nowhere/policy.yaml')).rejects.toMatchObject({
      type: 'PolicyInvalid',
      message: expect.stringContaining('/nowhere/policy.yaml cannot be read (ENOENT)'),
    });
  });
});
