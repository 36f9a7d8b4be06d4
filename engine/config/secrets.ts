import { readFile } from 'node:fs/promises';
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
    try {
      return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw missing(
        ref,
        `${file} cannot be read (${code})`,
        'Put the secret there, readable by the user of this process only (mode 0600).',
      );
    }
  }
  throw missing(
    'a secret',
    'it is no reference',
    'Write env:NAME or file:PATH; a value itself never stands in the policy.',
  );
}

function missing(ref: string, why: string, next: string): Failure {
  return new Failure('SecretMissing', `The secret ${ref} cannot be had: ${why}.`, { next });
}
