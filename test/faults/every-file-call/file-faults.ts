/**
 * Lets single calls to the file system go wrong, in this thread and in those that it starts. It has to be loaded before
 * what it is to meddle with, for names that were imported are bound by then; so it imports nothing itself. A thread has
 * it preloaded, and is told by memory that is shared.
 */

/**
 * What goes wrong at one call: it fails with nothing done; it is done and fails all the same; half of the bytes go, and
 * then there is no space; only half of the bytes go, which a system call may do at any time; or it does not return before
 * it is let go, which is for threads that may be lost.
 */
export type Kind = 'EIO' | 'done, then EIO' | 'half, then ENOSPC' | 'half' | 'hangs';

export interface Planned {
  /** As in `calls`. */
  call: string;
  /** Which of the calls of that name, from 0. */
  nth: number;
  kind: Kind;
}

type Call = (this: unknown, ...args: unknown[]) => unknown;
type Table = Record<string, Call>;
type Fs = Table & { promises: Table };

const fs = process.getBuiltinModule('node:fs') as unknown as Fs;
const threads = process.getBuiltinModule('node:worker_threads');

/** Six numbers, then the plan, then the names of the calls, a line each. */
const planAt = 24;
const callsAt = 4096;
const [loggedBytes, struckCount, planBytes, jobSerial, letGo, isNoting] = [0, 1, 2, 3, 4, 5];
const memory: SharedArrayBuffer = threads.isMainThread ? new SharedArrayBuffer(1024 * 1024) : threads.workerData.memory;
const numbers = new Int32Array(memory, 0, 6);
const bytes = Buffer.from(memory);

interface Job {
  serial: number;
  /** What lies below this folder is meddled with. */
  root: string;
  planned: Planned | null;
}
let job: Job = { serial: 0, root: '', planned: null };

/** Begins a job in a folder of its own: its calls are counted from nothing, and one of them may go wrong. */
function begin(root: string, planned: Planned | null): void {
  const text = JSON.stringify({ root, planned });
  numbers.set([0, 0, bytes.write(text, planAt), (numbers[jobSerial] ?? 0) + 1]);
}

/** Lets what hangs return. */
function release(): void {
  Atomics.add(numbers, letGo, 1);
  Atomics.notify(numbers, letGo);
}

/** Stops meddling. */
function end(): void {
  begin('', null);
  release();
}

/** The calls so far, in order: the function, and the first folder's name below the job's; those of other threads so marked. */
function calls(): string[] {
  const text = bytes.subarray(callsAt, callsAt + Atomics.load(numbers, loggedBytes)).toString();
  return text.split('\n').filter((line) => line !== '');
}

function hasStruck(): boolean {
  return Atomics.load(numbers, struckCount) > 0;
}

function presentJob(): Job {
  const serial = numbers[jobSerial] ?? 0;
  if (job.serial === serial) return job;
  const given = JSON.parse(bytes.subarray(planAt, planAt + (numbers[planBytes] ?? 0)).toString());
  job = { ...given, serial };
  return job;
}

/** Adds a call to those of all threads; returns how many of that name there were. */
function note(call: string): number {
  while (Atomics.compareExchange(numbers, isNoting, 0, 1) !== 0) Atomics.wait(numbers, isNoting, 1, 1);
  const before = calls().filter((earlier) => earlier === call).length;
  const line = Buffer.from(`${call}\n`);
  bytes.set(line, callsAt + Atomics.add(numbers, loggedBytes, line.length));
  Atomics.store(numbers, isNoting, 0);
  return before;
}

/** Notes a call; what is to go wrong with it, if anything. */
function strikes(name: string, file: string | undefined): Kind | null {
  if (file === undefined) return null;
  const { root, planned } = presentJob();
  if (root === '' || !file.startsWith(`${root}/`)) return null;
  const where = file.slice(root.length + 1).split('/')[0] ?? '';
  const call = `${threads.isMainThread ? '' : 'thread: '}${name} ${where}`;
  const before = note(call);
  if (planned?.call !== call || planned.nth !== before) return null;
  return Atomics.add(numbers, struckCount, 1) === 0 ? planned.kind : null;
}

function failing(code: string, call: string, file: string): Error {
  const said = code === 'EIO' ? 'i/o error' : 'no space left on device';
  return Object.assign(new Error(`${code}: ${said}, ${call} '${file}'`), { code, syscall: call, path: file });
}

/** Of open files, by descriptor and by handle. */
const filesByNumber = new Map<number, string>();
const filesByHandle = new WeakMap<object, string>();
const nameOf = (file: unknown): string | undefined =>
  typeof file === 'string' ? file : file instanceof Uint8Array ? Buffer.from(file).toString() : undefined;
const fileOf = (at: unknown): string | undefined => (typeof at === 'number' ? filesByNumber.get(at) : nameOf(at));

/** The same call for half of its bytes: of one buffer, of a list of them, or of a whole file. */
function halved(name: string, args: unknown[]): unknown[] {
  if (/writeFile/.test(name)) return [args[0], half(args[1]), ...args.slice(2)];
  const at = args.findIndex((arg) => arg instanceof Uint8Array || Array.isArray(arg));
  const given = args[at];
  if (Array.isArray(given)) return args.with(at, [half(given[0])]);
  // (buffer, offset, length, position)
  return typeof args[at + 2] === 'number' ? args.with(at + 2, Math.ceil((args[at + 2] as number) / 2)) : args;
}

function half(given: unknown): Uint8Array {
  const whole = Buffer.from(given as Uint8Array);
  return whole.subarray(0, Math.ceil(whole.length / 2));
}

const undoing: (() => void)[] = [];

/** Takes the place of a function until all is taken back. */
function replace<T extends object>(table: T, name: keyof T, by: T[keyof T]): void {
  const real = table[name];
  undoing.push(() => {
    table[name] = real;
  });
  table[name] = by;
}

/** Gives every function back its place: whoever comes after in this process has another file system to look at. */
function remove(): void {
  end();
  for (const undo of undoing.splice(0).reverse()) undo();
  process.getBuiltinModule('node:module').syncBuiltinESMExports();
}

function meddleSync(name: string): void {
  const real = fs[name] as Call;
  replace(fs as Table, name, function (...args) {
    const file = fileOf(args[0]);
    const kind = strikes(name, file);
    if (kind === 'EIO') throw failing('EIO', name, file ?? '');
    if (kind === 'hangs') Atomics.wait(numbers, letGo, numbers[letGo] ?? 0);
    const done = real.apply(this, kind?.startsWith('half') ? halved(name, args) : args);
    if (name === 'openSync' && file !== undefined) filesByNumber.set(done as number, file);
    if (kind === 'half, then ENOSPC') throw failing('ENOSPC', name, file ?? '');
    if (kind === 'done, then EIO') throw failing('EIO', name, file ?? '');
    return done;
  });
}

function meddleAsync(
  table: Table,
  name: string,
  shown: string,
  of: (self: unknown, args: unknown[]) => string | undefined,
) {
  const real = table[name] as Call;
  replace(table, name, async function (...args) {
    const file = of(this, args);
    const kind = strikes(shown, file);
    // A handle's own errors name no file.
    const said = table === fs.promises ? (file ?? '') : '';
    if (kind === 'EIO') throw failing('EIO', name, said);
    // By another thread, as the call itself would be.
    if (kind === 'hangs') await Atomics.waitAsync(numbers, letGo, numbers[letGo] ?? 0).value;
    const done = await real.apply(this, kind?.startsWith('half') ? halved(name, args) : args);
    if (table === fs.promises && name === 'open' && file !== undefined) filesByHandle.set(done as object, file);
    if (kind === 'half, then ENOSPC') throw failing('ENOSPC', name, said);
    if (kind === 'done, then EIO') throw failing('EIO', name, said);
    return done;
  });
}

/** As streams call it that are opened by a name. */
function meddleCallback(name: string): void {
  const real = fs[name] as Call;
  replace(fs as Table, name, function (...args) {
    const file = fileOf(args[0]);
    const kind = strikes(name, file);
    const answer = args.at(-1) as (error: Error | null, ...results: unknown[]) => void;
    if (kind === 'EIO') return void process.nextTick(answer, failing('EIO', name, file ?? ''));
    const told = (error: Error | null, ...results: unknown[]) => {
      if (error === null && name === 'open' && file !== undefined) filesByNumber.set(results[0] as number, file);
      if (kind === 'half, then ENOSPC') answer(failing('ENOSPC', name, file ?? ''));
      else if (kind === 'done, then EIO') answer(failing('EIO', name, file ?? ''));
      else answer(error, ...results);
    };
    const given = kind?.startsWith('half') ? halved(name, args) : args;
    return real.apply(this, given.with(-1, told));
  });
}

for (const name of [
  ...['openSync', 'closeSync', 'readSync', 'writeSync', 'fstatSync', 'ftruncateSync', 'fchmodSync', 'fchownSync'],
  ...['lstatSync', 'readdirSync', 'readlinkSync', 'mkdirSync', 'linkSync', 'symlinkSync', 'chmodSync', 'lchownSync'],
  ...['readFileSync', 'writeFileSync', 'rmSync', 'renameSync', 'rmdirSync'],
])
  meddleSync(name);
for (const name of ['open', 'read', 'write', 'close']) meddleCallback(name);
const byName = (_self: unknown, args: unknown[]) => nameOf(args[0]);
for (const name of [
  ...['open', 'readFile', 'writeFile', 'stat', 'lstat', 'mkdir', 'readdir', 'rename', 'link', 'rm', 'rmdir', 'statfs'],
  ...['chmod', 'realpath'],
])
  meddleAsync(fs.promises, name, name, byName);
const handle = await (fs.promises.open as typeof import('node:fs/promises').open)(process.execPath);
const handles = Object.getPrototypeOf(handle) as Table;
await handle.close();
for (const name of ['read', 'write', 'writev', 'sync', 'datasync', 'stat', 'truncate', 'close'])
  meddleAsync(handles, name, `handle ${name}`, (self) => filesByHandle.get(self as object));

if (threads.isMainThread) {
  const Plain = threads.Worker;
  // By way of the module's object, as whoever imports the name gets it.
  const Meddled = class extends Plain {
    constructor(file: string | URL, options: ConstructorParameters<typeof Plain>[1] = {}) {
      const execArgv = [...(options.execArgv ?? []), '--import', import.meta.url];
      super(file, { ...options, execArgv, workerData: { ...options.workerData, memory } });
    }
  };
  replace(threads as { Worker: typeof Plain }, 'Worker', Meddled);
}
process.getBuiltinModule('node:module').syncBuiltinESMExports();

export const fileFaults = { begin, release, end, calls, hasStruck, remove };
