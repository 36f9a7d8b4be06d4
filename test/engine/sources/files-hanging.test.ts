import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { assertAnswers, limitSilence } from '../../../engine/answering.ts';
import { openWalker } from '../../../engine/sources/files/walker.ts';
import { createFilesSource, discardRestored } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { eventually } from '../../support/eventually.ts';
import { failureOf, makePlace, type Place } from '../artifact/sealing.ts';
import { beforeReading, sealSource } from './conformance.ts';

/** Trees whose file system does not answer: what hangs are the threads that ask it, and nothing else. */

let place: Place;
let dir: string;
beforeAll(async () => {
  limitSilence(1_000);
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'files-hanging-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});

const never = new AbortController().signal;

test('a file that cannot be opened ends the job with its name; then the tree is asked nothing, until it answers', async () => {
  const root = path.join(dir, 'tree');
  mkdirSync(root);
  const file = path.join(root, 'report');
  writeFileSync(file, 'a line');
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
  // Whoever opens a pipe to read from it waits for somebody to write.
  const toPipe = () => {
    rmSync(file);
    execFileSync('mkfifo', [file]);
  };
  const error = await failureOf(sealSource(place, source, never, (writer) => beforeReading(writer, toPipe)));
  expect(error).toMatchObject({
    type: 'SourceUnreachable',
    message: expect.stringContaining(`${file} does not answer`),
  });
  for (const asked of [root, file, path.dirname(root)]) expect(() => assertAnswers(asked)).toThrow(file);
  expect(() => assertAnswers(`${root}-other`)).not.toThrow();
  const again = await failureOf(sealSource(place, source));
  expect(again.message).toMatch(/is asked nothing: .*report does not answer since 20/);

  closeSync(openSync(file, constants.O_WRONLY));
  await eventually(() => assertAnswers(root));
  rmSync(file);
  writeFileSync(file, 'another line');
  expect((await sealSource(place, source)).result.warnings).toEqual([]);
});

test('of files that are read together the folder is named that they share', async () => {
  const root = path.join(dir, 'several');
  mkdirSync(path.join(root, 'a/b'), { recursive: true });
  for (const name of ['a/1', 'a/b/2', 'a/b/3']) writeFileSync(path.join(root, name), 'a line');
  const pipe = path.join(root, 'a/b/2');
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
  const toPipe = (file: string) => {
    if (file !== pipe) return;
    rmSync(file);
    execFileSync('mkfifo', [file]);
  };
  const error = await failureOf(sealSource(place, source, never, (writer) => beforeReading(writer, toPipe)));
  expect(error.message).toContain(`${path.join(root, 'a')} does not answer`);
  closeSync(openSync(pipe, constants.O_WRONLY));
  await eventually(() => assertAnswers(root));
});

/** A thread whose first call takes four seconds, and which answers nothing. */
const silent = new URL('data:text/javascript,Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000)');

test('a folder that cannot be listed ends the job, and so does an abort while it hangs', async () => {
  const root = path.join(dir, 'mount');
  const options = { root, warn: () => {} };
  const abort = new AbortController();
  const aborted = openWalker(options, abort.signal, { script: silent });
  const listing = aborted.found().next();
  abort.abort(new Error('somebody has cancelled it'));
  await expect(listing).rejects.toThrow('somebody has cancelled it');
  aborted.close();

  const walker = openWalker(options, never, { script: silent });
  const error = await failureOf(walker.found().next());
  expect(error).toMatchObject({ type: 'SourceUnreachable', message: expect.stringContaining(root) });
  expect(await failureOf(walker.found().next())).toEqual(error);
  walker.close();
  expect(() => openWalker(options, never)).toThrow('is asked nothing');
  await eventually(() => assertAnswers(root));
});

test('a folder restored into that does not answer any more ends the restore, and is left alone until it answers', async () => {
  const root = path.join(dir, 'shop');
  mkdirSync(path.join(root, 'sub'), { recursive: true });
  writeFileSync(path.join(root, 'sub/report'), 'a line');
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
  const { reader } = await sealSource(place, source);
  const into = path.join(dir, 'restored');
  const options = { into, job: 'restore/docs/1', signal: never, onProgress: () => {} };
  // The folder of the file is there once the file's content is asked for: a pipe takes its place.
  const readInOrder = async (index: number) => {
    const artifact = await reader.artifact(index);
    await eventually(() => expect(existsSync(path.join(into, 'sub'))).toBe(true));
    execFileSync('mkfifo', [path.join(into, 'sub/report')]);
    return artifact;
  };
  await expect(source.restore({ ...reader, artifact: readInOrder }, options)).rejects.toMatchObject({
    type: 'TargetUnusable',
    message: expect.stringContaining(`${path.join(into, 'sub/report')} does not answer`),
    next: expect.stringContaining('What was written there stays'),
  });
  const unusable = { type: 'TargetUnusable', message: expect.stringContaining('is asked nothing') };
  expect(await failureOf(source.restore(reader, options))).toMatchObject(unusable);
  expect(await failureOf(discardRestored(into, options.job))).toMatchObject(unusable);

  closeSync(openSync(path.join(into, 'sub/report'), constants.O_RDONLY | constants.O_NONBLOCK));
  await eventually(() => assertAnswers(into));
  await discardRestored(into, options.job);
  expect(existsSync(into)).toBe(false);
  await source.restore(reader, options);
  expect(readFileSync(path.join(into, 'sub/report'), 'utf8')).toBe('a line');
});
