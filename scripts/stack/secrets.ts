import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Where a secret of the stack lies. */
export function secretFile(dataDir: string, name: string): string {
  return path.join(dataDir, 'secrets', name);
}

/** The secret of that name, of mode 0600; made the first time. */
export async function secretOnce(dataDir: string, name: string, make: () => string | Promise<string>): Promise<string> {
  const file = secretFile(dataDir, name);
  const known = await readText(file);
  if (known?.trim()) return known.trim();
  const made = (await make()).trim();
  await writeSecret(dataDir, name, made);
  return made;
}

/** Writes a secret that follows from others, e.g. a URI with a password. */
export async function writeSecret(dataDir: string, name: string, value: string): Promise<void> {
  await mkdir(path.join(dataDir, 'secrets'), { recursive: true, mode: 0o700 });
  await writeFile(secretFile(dataDir, name), `${value}\n`, { mode: 0o600 });
}

export const newPassword = (): string => randomBytes(24).toString('base64url');

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
