import { readFile, stat } from 'node:fs/promises';
import { Failure } from '../../policies/failure.ts';

/**
 * What a reference stands for: `env:NAME`, or `file:PATH` (a newline at its end is dropped). Throws SecretMissing, which
 * names the reference and never the value.
 */
export async function resolveSecret(ref: string): Promise<string> {
  if (ref.startsWith('env:')) {
    const name = ref.slice('env:'.length);
    const value = process.env[name];
    if (value !== undefined && value !== '') return value;
    throw missing(
      ref,
      `the environment variable ${name} is not set`,
      `Set ${name} in the environment of this process.`,
    );
  }
  if (ref.startsWith('file:')) {
    const file = ref.slice('file:'.length);
    const next = 'Put the secret there, readable by the user of this process only (mode 0600).';
    let value: string;
    try {
      value = (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
      await warnIfOpen(file);
    } catch (error) {
      throw missing(ref, `${file} cannot be read (${(error as NodeJS.ErrnoException).code})`, next);
    }
    if (value === '') throw missing(ref, `${file} is empty`, next);
    return value;
  }
  throw missing(
    'a secret',
    'it is no reference',
    'Write env:NAME or file:PATH; a value itself never stands in the policy.',
  );
}

/**
 * A resolver for one holder, who is given these references and no others. Anything else is refused without a look, so
 * that nobody can make a process read another's secret by naming it. Throws SecretMissing.
 *
 * @param holder in words, e.g. `the transfer worker`
 */
export function secretsAmong(refs: readonly string[], holder: string): (ref: string) => Promise<string> {
  const known = new Set(refs);
  return async (ref) => {
    if (known.has(ref)) return resolveSecret(ref);
    throw missing(
      refKind.test(ref) ? ref : 'a secret',
      `it is none of those that ${holder} is given`,
      'Name it in the policy file where that worker needs it, and restart the worker.',
    );
  };
}

const refKind = /^(env|file):/;
const warned = new Set<string>();

/** Once for each file: a secret that everybody on the machine may read is none. */
async function warnIfOpen(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o004) === 0 || warned.has(file)) return;
  warned.add(file);
  process.emitWarning(`The secret in ${file} can be read by everybody on this machine; run: chmod 0600 ${file}`);
}

function missing(ref: string, why: string, next: string): Failure {
  return new Failure('SecretMissing', `The secret ${ref} cannot be had: ${why}.`, { next });
}
