import { spawn } from 'node:child_process';
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateSigningKey, publicKeyOf, readSigningKey, signBackupJson } from '../../engine/artifact/index.ts';
import { createFilesSource } from '../../engine/sources/index.ts';
import { createDirectoryStore } from '../../engine/stores/index.ts';
import { placeWayOut } from '../../engine/way-out/index.ts';
import { filesSource } from '../../policies/policy.ts';
import { backupJsonName, pointPrefix, type SealedPoint } from '../../policies/recovery-point.ts';
import { makePlace, noise, type Place, sealParts } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';

/** What is left when all else has burned: a folder of sealed files, and an identity in a file. */
export interface Shelf {
  /** Where points are sealed before they are published to the shelf. */
  place: Place;
  store: string;
  /** The script, as it lies in the store. */
  scriptFile: string;
  /** The page beside it. */
  page: string;
  identityFile: string;
  /** The public key that signed. */
  trusted: string;
  /** Signs a staged point, and lays a copy into the store; returns its folder there. */
  publish(point: SealedPoint): string;
  /** The arguments that open and trust what lies there. */
  keys: string[];
  /** Runs the script, on the Node.js that runs us. */
  script(...args: string[]): Promise<Ended>;
  verify(id: string): Promise<Ended>;
  /** Into a new folder. */
  restore(id: string, ...more: string[]): Promise<Ended & { into: string }>;
  /** A new path, at which nothing is. */
  fresh(name: string): string;
  remove(): Promise<void>;
}

export async function makeShelf(): Promise<Shelf> {
  const place = await makePlace();
  const dir = mkdtempSync(path.join(tmpdir(), 'way-out-'));
  const store = path.join(dir, 'store');
  mkdirSync(store);
  await placeWayOut(createDirectoryStore({ name: 'shelf', path: store }));
  const named = (pattern: RegExp) => path.join(store, readdirSync(store).find((name) => pattern.test(name)) ?? 'none');
  const identityFile = path.join(dir, 'identity.txt');
  writeFileSync(identityFile, `# made for a test\n${place.identity}\n`, { mode: 0o600 });
  const key = readSigningKey(generateSigningKey());
  let serial = 0;
  const scriptFile = named(/^restore-[0-9a-f]{12}\.mjs$/);
  const keys = ['--identity', identityFile, '--trusted', publicKeyOf(key)];
  const script = (...args: string[]) => run([process.execPath, scriptFile, ...args]);
  const fresh = (name: string) => path.join(dir, `${name} ${++serial}`);
  return {
    place,
    store,
    scriptFile,
    keys,
    script,
    fresh,
    verify: (id) => script('verify', store, id, ...keys),
    async restore(id, ...more) {
      const into = fresh('restored');
      return { ...(await script('restore', store, id, '--into', into, ...keys, ...more)), into };
    },
    page: named(/^RESTORE-[0-9a-f]{12}\.md$/),
    identityFile,
    trusted: publicKeyOf(key),
    publish(point) {
      const from = path.join(place.dir, pointPrefix(point.source.name, point.id));
      const to = path.join(store, pointPrefix(point.source.name, point.id));
      mkdirSync(to, { recursive: true });
      for (const { name } of point.objects) copyFileSync(path.join(from, name), path.join(to, name));
      const validation = { finishedAt: point.sealedAt, passed: true, checks: [] };
      writeFileSync(path.join(to, backupJsonName), signBackupJson({ ...point, validation }, key));
      return to;
    },
    async remove() {
      rmSync(dir, { recursive: true, force: true });
      await place.remove();
    },
  };
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function run(argv: string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}): Promise<Ended> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, stdout, stderr };
}

const mebibyte = 1024 * 1024;
/** Large enough for frames that hold nothing else: 4 MiB share their fate. */
const sizes: Record<string, number> = { a: 6 * mebibyte, 'deep/b': 12 * mebibyte };
const seeds: Record<string, number> = { a: 1, 'deep/b': 2, 'deep/er/c': 3, z: 4 };

export function contentOf(name: string): Buffer {
  return noise(sizes[name] ?? 1.5 * mebibyte, seeds[name]);
}

/** Files in folders, one with a further name, and a link; on the shelf. */
export async function shelveTree(shelf: Shelf): Promise<{ sealed: SealedSource; folder: string }> {
  const root = shelf.fresh('tree');
  mkdirSync(path.join(root, 'deep', 'er'), { recursive: true });
  for (const name of Object.keys(seeds)) writeFileSync(path.join(root, name), contentOf(name));
  linkSync(path.join(root, 'a'), path.join(root, 'deep', 'other name of a'));
  symlinkSync('a', path.join(root, 'link'));
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
  const sealed = await sealSource(shelf.place, source);
  return { sealed, folder: shelf.publish(sealed.point) };
}

/** A small point of parts, on the shelf. */
export async function shelveParts(shelf: Shelf): Promise<SealedPoint> {
  const point = await sealParts(shelf.place, { 'database.dump': noise(3000) });
  shelf.publish(point);
  return point;
}

/** Names in a folder and all below it, in order. */
export function namesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true }).map(String).sort();
}
