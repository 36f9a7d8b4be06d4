import { chown, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { UnprivilegedUser } from '../../sites/index.ts';

/**
 * Settings for a server that we start on a restored cluster for our own ends. Its own configuration names folders,
 * libraries, archives, certificates and other servers, which may be missing here or are no business of ours.
 */
const ownSettings = {
  hot_standby: 'off',
  archive_mode: 'off',
  max_prepared_transactions: '1000',
  shared_preload_libraries: '',
  ssl: 'off',
  timezone: 'UTC',
  // What it says is read.
  logging_collector: 'off',
  log_destination: 'stderr',
  log_min_messages: 'warning',
  log_error_verbosity: 'default',
  log_line_prefix: '',
  lc_messages: 'C',
};

/**
 * Writes configuration files of our own into a folder, and returns the settings that lead a server to them.
 *
 * @param owner who the server runs as, when that is somebody else
 * @param access lines of pg_hba.conf
 */
export async function ownConfiguration(
  dir: string,
  owner: UnprivilegedUser | null,
  access = '',
): Promise<Record<string, string>> {
  const files = {
    config_file: path.join(dir, 'own.conf'),
    hba_file: path.join(dir, 'own.hba'),
    ident_file: path.join(dir, 'own.ident'),
  };
  const contents = ['# Settings are given on the command line.\n', access, ''];
  for (const [i, file] of Object.values(files).entries()) {
    await writeFile(file, contents[i] ?? '', { mode: 0o600 });
    if (owner) await chown(file, owner.uid, owner.gid);
  }
  return { ...ownSettings, ...files };
}
