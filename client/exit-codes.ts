import { type FailureType, failureTypes } from '../policies/failure.ts';

/** What each exit code means, in the words of `backupctl --help` and docs/exit-codes.md. */
const meanings: Record<number, string> = {
  0: 'Done.',
  1: 'Something that nobody foresaw: likely a defect.',
  2: 'What was asked for is not valid: arguments, policy file, a secret that is missing.',
  3: 'No such source, copy or recovery point.',
  4: 'The source, or the place to restore into, cannot be used.',
  5: 'A store cannot be used, or does not have what it should.',
  6: 'A recovery point is damaged, or its keys or signature do not fit.',
  7: 'Validation failed or took too long; nothing was published.',
  8: 'Temporal, a worker, the catalog or a receiver of notifications cannot be used, or the catalog differs from the stores.',
  9: 'The recovery point stands, but not as promised: a copy failed, or the 3-2-1 rule is breached.',
  130: 'Interrupted, by Ctrl-C or from outside; with --wait the job itself goes on.',
};

export interface ExitCode {
  code: number;
  meaning: string;
  types: FailureType[];
}

/** Every exit code with the failures that end with it. */
export function exitCodes(): ExitCode[] {
  const types = Object.keys(failureTypes) as FailureType[];
  return Object.entries(meanings).map(([code, meaning]) => ({
    code: Number(code),
    meaning,
    types: types.filter((t) => failureTypes[t].exitCode === Number(code)),
  }));
}

/** For --help. */
export function exitCodesHelp(): string {
  return [
    '',
    'Exit codes:',
    ...exitCodes().map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`),
  ].join('\n');
}

/** The text of docs/exit-codes.md. */
export function exitCodesPage(): string {
  const rows = exitCodes().map(({ code, meaning, types }) => {
    const list = types.map((t) => `\`${t}\`${failureTypes[t].retryable ? ' ↻' : ''}`).join(', ');
    return `| ${code} | ${meaning} | ${list} |`;
  });
  return `# Exit codes of \`backupctl\`

Each failure has a type, which \`--json\` shows as \`error.type\` and Temporal as the failure's type. ↻ marks those that a
workflow tries again by itself. This page follows policies/failure.ts; a test compares them.

| code | meaning | types |
| ---: | --- | --- |
${rows.join('\n')}
`;
}
