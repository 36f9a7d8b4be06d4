import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { isFailure } from '../policies/failure.ts';
import { findPostgres, findPostgres18, findTemporal, findTestServer, findTool, findVersitygw } from './stack/find.ts';

/**
 * `npm test`: finds or installs every component, runs all tests, and prints a last line `N passed, N failed`.
 * `--unit` runs the quick tests that need no servers; everything else goes to Jest, e.g. a part of a file's name.
 */

const root = path.dirname(import.meta.dirname);

interface JestResults {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  numFailedTestSuites: number;
  numRuntimeErrorTestSuites: number;
  success: boolean;
  testResults: { name: string; status: string; assertionResults: unknown[] }[];
}

const args = process.argv.slice(2);
const unit = args.includes('--unit');
const forJest = args.filter((arg) => arg !== '--unit');

type Component = [name: string, find: () => Promise<unknown>];

/** Everything that some test needs. A part that cannot be had is a failure: no test is skipped for want of it. */
const servers: Component[] = [
  ['temporal-test-server', findTestServer],
  ['temporal', findTemporal],
  ['versitygw', findVersitygw],
  ['postgresql', findPostgres],
  ['postgresql 18', findPostgres18],
];
const tools = unit ? ['setfacl'] : ['setfacl', 'age', 'zstd', 'tar', 'getfattr', 'getfacl', 'setpriv', 'python3'];
const components: Component[] = [
  ...(unit ? [] : servers),
  ...tools.map((name): Component => [name, () => findTool(name)]),
];

async function findComponents(): Promise<number> {
  let missing = 0;
  for (const [name, find] of components) {
    try {
      await find();
    } catch (error) {
      if (!isFailure(error)) throw error;
      missing++;
      process.stderr.write(`✗ ${name}: ${error.message}\n  next: ${error.next}\n`);
    }
  }
  return missing;
}

/** Ending the shared servers takes some of it. */
const openHandleLimitSeconds = 45;
let leftOpen = false;

async function runJest(): Promise<JestResults | null> {
  const folder = await mkdtemp(path.join(tmpdir(), 'jest-results-'));
  const outputFile = path.join(folder, 'results.json');
  try {
    const jest = path.join(root, 'node_modules', 'jest', 'bin', 'jest.js');
    const nodeArgs = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
    const selection = unit ? ['--selectProjects=unit'] : [];
    const child = spawn(
      process.execPath,
      [...nodeArgs, jest, ...forJest, '--json', `--outputFile=${outputFile}`, ...selection],
      // The JSON also goes to stdout; people read the report, which is on stderr.
      { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] },
    );
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    const ended = new Promise<void>((resolve, reject) => child.once('exit', () => resolve()).once('error', reject));
    const hung = await endsAfterResults(ended, outputFile, () => child.kill('SIGKILL'));
    if (hung)
      process.stderr.write(
        '✗ Jest did not end by itself: a test left a handle open (run it with --detectOpenHandles).\n',
      );
    leftOpen = hung;
    return JSON.parse(await readFile(outputFile, 'utf8')) as JestResults;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits for Jest's end. Results are written before it; when handles hold it longer, it is killed and true comes back. */
async function endsAfterResults(ended: Promise<void>, outputFile: string, kill: () => void): Promise<boolean> {
  const over = ended.then(() => true);
  let waitedSeconds = 0;
  while (!(await Promise.race([over, setTimeout(1_000, false, { ref: false })]))) {
    if (existsSync(outputFile) && ++waitedSeconds > openHandleLimitSeconds) {
      kill();
      await ended;
      return true;
    }
  }
  return false;
}

const missing = await findComponents();
const results = await runJest();
if (results === null) process.stderr.write('✗ Jest ended without results; its message is above.\n');
// A file that cannot even be loaded has no tests to count; a skipped or planned one is a hole. Each counts as failed.
const broken =
  results?.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0) ?? [];
for (const { name } of broken) process.stderr.write(`✗ ${path.relative(root, name)} could not be run\n`);
const holes = (results?.numPendingTests ?? 0) + (results?.numTodoTests ?? 0);
if (holes > 0 && forJest.length === 0) process.stderr.write(`✗ ${holes} tests are skipped\n`);
const passed = results?.numPassedTests ?? 0;
const failed =
  (results?.numFailedTests ?? 1) +
  broken.length +
  missing +
  (forJest.length === 0 ? holes : 0) +
  (passed === 0 ? 1 : 0) +
  (leftOpen ? 1 : 0);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && results?.success ? 0 : 1;
