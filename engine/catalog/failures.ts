import { Failure, isFailure } from '../../policies/failure.ts';

/**
 * SQLSTATE classes and codes that mean "not now" or "not there": connection, authorization, database, resources,
 * shutdown, time limits.
 */
const unreachableStates = /^(08|25P03|28|3D|53|57014|57P|58)/;

/** Throws PolicyInvalid when the text is no postgresql:// URI. The text itself is a secret, and is not repeated. */
export function assertUri(dsn: string): void {
  if (URL.canParse(dsn) && /^postgres(ql)?:$/.test(new URL(dsn).protocol)) return;
  throw new Failure('PolicyInvalid', 'The secret that catalog.dsn refers to is no postgresql:// URI.', {
    next: 'Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; special characters in the password percent-encoded.',
  });
}

/**
 * Gives errors of the driver, the server and the migrations their names. Messages have no more of the URI than host,
 * port and database; what is a defect of ours stays as it is.
 */
export function asFailure(error: unknown, dsn: string): unknown {
  if (isFailure(error)) return error;
  const { code: given, message = '' } = error as { code?: unknown; message?: string };
  const code = typeof given === 'string' ? given : null;
  const place = placeOf(dsn);
  if (code === '42P01' || code === '3F000' || code === '42703') {
    return new Failure('CatalogDiffers', `The catalog at ${place} has not been set up for this version.`, {
      next: 'Start a coordination worker (it migrates the catalog), or run "backupctl catalog rebuild --all".',
      cause: error,
    });
  }
  if (/^Not run migration|preceding already run migration/.test(message)) {
    return new Failure('CatalogDiffers', `The catalog at ${place} was set up by another version.`, {
      next: 'Use the version that set it up, or name another, empty database in catalog.dsn and run "backupctl catalog rebuild --all".',
      cause: error,
    });
  }
  if (code === '23503') {
    return new Failure('PointUnknown', 'The catalog does not have the point whose copy is to be recorded.', {
      next: 'Run "backupctl catalog rebuild --all", which reads the stores again.',
      cause: error,
    });
  }
  const isAnswer = code !== null && /^[0-9][0-9A-Z]{4}$/.test(code);
  if (isAnswer && !unreachableStates.test(code)) return error;
  if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) return error;
  return new Failure('CatalogUnreachable', `The catalog cannot be used at ${place} (${reasonOf(message, code)}).`, {
    next: 'Start its PostgreSQL, or correct catalog.dsn. Backups in the stores are not touched by this.',
    cause: error,
  });
}

/** Several addresses were tried: the message is empty, and the reasons are inside. */
function reasonOf(message: string, code: string | null): string {
  // The driver's own words for it name a read timeout.
  if (message === 'Query read timeout' || code === '57014') return 'it does not answer in time';
  if (code === '28P01') return 'the password is not accepted';
  return code ?? (message || 'no answer');
}

function placeOf(dsn: string): string {
  const { hostname, port, pathname } = new URL(dsn);
  return `${hostname}:${port || 5432}${pathname}`;
}
