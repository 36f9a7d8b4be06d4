import path from 'node:path';
import { type EmbeddedPolicy, loginPasswords, writeEmbeddedPolicy } from './embedded-policy.ts';
import { makeSampleDatabase, makeSampleTree, sampleDatabase } from './sample-data.ts';
import { ensureBackupLogin, ensureCatalogLogin } from './stack/database.ts';
import type { Stack } from './stack/stack.ts';

export interface PrepareOptions {
  /** Absolute path of the user's own policy file. */
  userPolicy?: string | undefined;
  step?: (line: string) => void;
}

/** What workers need on a stack that runs: logins, the policy file, and sample data where the user names no sources. */
export async function prepare(stack: Stack, { userPolicy, step = () => {} }: PrepareOptions): Promise<EmbeddedPolicy> {
  const { dataDir, postgres, temporal, east, west, bucket } = stack;
  const passwords = await loginPasswords(dataDir);
  await ensureCatalogLogin(postgres.uri(), passwords.catalog);
  const { host, port, user } = postgres;
  const written = await writeEmbeddedPolicy({
    dataDir,
    temporal,
    postgres: { host, port, user },
    east,
    west,
    bucket,
    ...(userPolicy === undefined ? {} : { userPolicy }),
  });
  step(`policy: ${written.file}`);
  if (written.isSample) {
    await makeSampleDatabase(postgres.uri());
    await ensureBackupLogin(postgres.uri(), passwords.backup, [sampleDatabase]);
    await makeSampleTree(path.join(dataDir, 'sample-files'));
    step('sample data: the database shop, and a file tree');
  }
  return written;
}
