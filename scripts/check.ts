import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** `npm run check`: one line per check, what it found below it, and a last line with the counts. */

const root = path.dirname(import.meta.dirname);
const rooms = ['policies', 'engine', 'activities', 'workflows', 'workers', 'client', 'scripts', 'test', 'bench'];
const longestFileLines = 400;

interface Finding {
  passed: boolean;
  output: string;
}

const checks: [name: string, run: () => Promise<Finding>][] = [
  ['types (tsc)', () => tool('tsc', ['-p', '.'])],
  ['types of the way out (tsc)', () => tool('tsc', ['-p', 'engine/way-out'])],
  ['lint and format (Biome)', () => tool('biome', ['ci', '--colors=off', '--max-diagnostics=40', '.'])],
  [
    'import arrows (dependency-cruiser)',
    () => tool('depcruise', ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', ...rooms]),
  ],
  ['imports of types only', typeOnlyImports],
  ['dead code (knip)', () => tool('knip', ['--no-progress'])],
  [`files of at most ${longestFileLines} lines`, fileLengths],
];

async function tool(name: string, args: string[]): Promise<Finding> {
  const child = spawn(process.execPath, [await entryOf(name), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { passed: code === 0, output };
}

/** The script behind a command of node_modules, from its package's own `bin`. */
async function entryOf(name: string): Promise<string> {
  const packages: Record<string, string> = {
    tsc: 'typescript',
    biome: '@biomejs/biome',
    depcruise: 'dependency-cruiser',
    knip: 'knip',
  };
  const folder = path.join(root, 'node_modules', packages[name] ?? name);
  const { bin } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as {
    bin: string | Record<string, string>;
  };
  return path.join(folder, typeof bin === 'string' ? bin : (bin[name] ?? ''));
}

/** Workflow code must never carry activity code into its sandbox, nor activities or the client workflow code into theirs. */
async function typeOnlyImports(): Promise<Finding> {
  const rules: [room: string, target: string][] = [
    ['workflows', 'activities'],
    ['activities', 'workflows'],
  ];
  const wrong: string[] = [];
  for (const [room, target] of rules) {
    for (const file of await sourceFiles(room)) {
      const text = await readFile(file, 'utf8');
      const statement = new RegExp(
        `^(?:import|export)\\s(?!type\\s)[^;]*?from '\\.\\./(?:\\.\\./)*${target}/(?!contracts[.]ts)[^']*'`,
        'gm',
      );
      for (const [found] of text.matchAll(statement)) {
        wrong.push(`${path.relative(root, file)}: write "import type" for ${/'([^']*)'$/.exec(found)?.[1]}`);
      }
    }
  }
  return { passed: wrong.length === 0, output: wrong.join('\n') };
}

async function sourceFiles(room: string): Promise<string[]> {
  const entries = await readdir(path.join(root, room), { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => e.isFile() && /\.(ts|mjs|cjs|js)$/.test(e.name))
    .map((e) => path.join(e.parentPath, e.name));
}

async function fileLengths(): Promise<Finding> {
  const tooLong: string[] = [];
  for (const room of rooms) {
    for (const file of await sourceFiles(room)) {
      const lines = (await readFile(file, 'utf8')).split('\n').length - 1;
      if (lines > longestFileLines) tooLong.push(`${path.relative(root, file)}: ${lines} lines; split it by its ideas`);
    }
  }
  return { passed: tooLong.length === 0, output: tooLong.join('\n') };
}

let failed = 0;
for (const [name, run] of checks) {
  const startedAt = performance.now();
  const { passed, output } = await run();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(`${passed ? '✓' : '✗'} ${name} (${seconds} s)\n`);
  if (!passed) {
    failed++;
    process.stdout.write(`${output.trimEnd().replaceAll(/^/gm, '  ')}\n`);
  }
}
process.stdout.write(`${checks.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
