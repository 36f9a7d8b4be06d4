import type { SourceFacts } from '../../../policies/recovery-point.ts';
import type { PageRule } from '../../artifact/index.ts';

/**
 * Main forks of relations (PostgreSQL manual, 73.1 Database File Layout): free space and visibility maps (`_fsm`, `_vm`)
 * are not written by the rules of WAL, init forks are small, and whatever else lies there has no pages.
 */
const mainFork = /^(global|base\/\d+|pg_tblspc\/\d+\/[^/]+\/\d+)\/\d+(\.\d+)?$/;

/**
 * How changed pages of a file are told from others, null for one that is compared whole: by their LSN where page checksums
 * make the server log whatever it writes, by their hashes elsewhere.
 *
 * @param since where the backup began that is compared with, null for none
 */
export function pageRuleFor({ dataChecksums, pageBytes }: SourceFacts, since: string | null) {
  const bytes = Number(pageBytes);
  const rule: PageRule | null =
    dataChecksums === true ? (since === null ? null : { bytes, since }) : { bytes, since: null };
  return (path: string): PageRule | null => (mainFork.test(path) ? rule : null);
}
