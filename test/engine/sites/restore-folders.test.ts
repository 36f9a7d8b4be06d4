import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { assertWithin } from '../../../engine/sites/index.ts';

let dir: string;
let allowed: string;
beforeAll(() => {
  dir = realpathSync(mkdtempSync(path.join(tmpdir(), 'folders-')));
  allowed = path.join(dir, 'restored');
  mkdirSync(path.join(allowed, 'there'), { recursive: true });
  mkdirSync(path.join(dir, 'restored-else'));
  mkdirSync(path.join(dir, 'bin'));
  symlinkSync(path.join(dir, 'bin'), path.join(allowed, 'link'));
  symlinkSync('../nowhere', path.join(allowed, 'dangling'));
  symlinkSync(allowed, path.join(dir, 'way-in'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const within = (...place: string[]) => assertWithin(path.join(dir, ...place), [allowed]);

describe('a restore', () => {
  test.each(['restored/there', 'restored/new', 'restored/new/deep/er', 'way-in/new', 'restored/there/../new'])(
    'may go below a folder of the policy: %s',
    async (place) => {
      await expect(within(place)).resolves.toBeUndefined();
    },
  );

  test.each([
    'restored',
    'restored-else',
    'bin',
    'restored/../bin/new',
    'restored/link',
    'restored/link/new',
    'restored/dangling',
    'restored/dangling/new',
  ])('may not go elsewhere: %s', async (place) => {
    await expect(within(place)).rejects.toMatchObject({
      type: 'TargetUnusable',
      message: expect.stringContaining(`but below ${allowed}`),
    });
  });

  test('may go anywhere where the policy names no folder', async () => {
    await expect(assertWithin('/usr/local/bin', [])).resolves.toBeUndefined();
  });
});
