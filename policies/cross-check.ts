import picomatch from 'picomatch';
import { recipientProblem } from './age-recipient.ts';
import { checkCalendars } from './calendar-check.ts';
import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import { credentialsFor } from './credentials.ts';
import { durationSeconds } from './duration.ts';
import { error, type Finding, warning } from './finding.ts';
import { longestLockMs } from './lock.ts';
import type { CopyPolicy, Policy } from './policy.ts';
import { formatDuration } from './progress.ts';
import { judgePolicy } from './three-two-one.ts';
import { checkTiers } from './tier-check.ts';
import { checkWal } from './wal-sources.ts';
import { isWithin, relativeTo } from './within.ts';

/** What no single key shows: names used twice, places that coincide, a source that would back itself up, promises that cannot be kept. */
export function checkPolicy(policy: Policy): Finding[] {
  return [
    ...checkNames(policy),
    ...checkKeys(policy),
    ...checkPlaces(policy),
    ...checkCredentials(policy),
    ...checkLocks(policy),
    ...checkSources(policy),
    ...checkCalendars(policy),
    ...checkTiers(policy),
    ...checkWal(policy),
    ...checkDeadlines(policy),
    ...checkRule(policy),
  ];
}

function checkNames(policy: Policy): Finding[] {
  return (['sources', 'copies'] as const).flatMap((list) => {
    const names = policy[list].map((e) => e.name);
    return names.flatMap((name, i) => {
      const first = names.indexOf(name);
      return first === i ? [] : [error([list, i, 'name'], `${list}[${first}] is named "${name}" already`)];
    });
  });
}

const ed25519Bytes = 32;

function checkKeys({ keys }: Policy): Finding[] {
  const findings = keys.recipients.flatMap((recipient, i) => {
    const problem = recipientProblem(recipient);
    if (problem) return [error(['keys', 'recipients', i], problem)];
    return keys.recipients.indexOf(recipient) === i
      ? []
      : [error(['keys', 'recipients', i], 'this recipient stands here twice')];
  });
  for (const [i, key] of keys.trusted.entries()) {
    if (base64Bytes(key) === ed25519Bytes) continue;
    findings.push(
      error(['keys', 'trusted', i], `expected the ${ed25519Bytes} bytes of a raw Ed25519 public key in base64`),
    );
  }
  if (keys.recipients.length === 1) {
    findings.push(
      warning(['keys', 'recipients'], 'there is one recipient only: if its identity is lost, so is every backup'),
    );
  }
  return findings;
}

function base64Bytes(text: string): number {
  return /^[A-Za-z0-9+/]{2,}={0,2}$/.test(text) && text.length % 4 === 0
    ? (text.length / 4) * 3 - ((text.length - text.indexOf('=')) % (text.length + 1))
    : -1;
}

/** Two copies in one place are one copy: a fault there takes both. */
function checkPlaces({ copies, staging }: Policy): Finding[] {
  const findings: Finding[] = [];
  for (const [i, copy] of copies.entries()) {
    const first = copies.findIndex((other, j) => j < i && isSamePlace(other, copy));
    if (first >= 0)
      findings.push(
        error(
          ['copies', i],
          `lies in the same place as copies[${first}] ("${copies[first]?.name}"); two copies there are one`,
        ),
      );
    if (foldersOf(copy).some((path) => isWithin(path, staging.path) || isWithin(staging.path, path))) {
      findings.push(
        error(['copies', i, 'path'], `overlaps staging.path (${staging.path}), which is cleared after each job`),
      );
    }
  }
  return findings;
}

function isSamePlace(a: CopyPolicy, b: CopyPolicy): boolean {
  if (foldersOf(a).some((one) => foldersOf(b).some((other) => isWithin(one, other) || isWithin(other, one))))
    return true;
  if (a.kind !== 's3' || b.kind !== 's3') return false;
  // Bucket names are unique across AWS; elsewhere within one endpoint.
  const isSameBucket = a.bucket === b.bucket && originOf(a.endpoint) === originOf(b.endpoint);
  return isSameBucket && (isWithin(`/${a.prefix}`, `/${b.prefix}`) || isWithin(`/${b.prefix}`, `/${a.prefix}`));
}

/** Of a copy on disks: that of each of its tiers. */
function foldersOf(copy: CopyPolicy): string[] {
  return copy.kind === 'directory' ? [copy.path, ...copy.moves.map((m) => m.path)] : [];
}

function originOf(endpoint: string | undefined): string {
  return endpoint === undefined ? 'aws' : endpoint.toLowerCase().replace(/\/+$/, '');
}

function checkCredentials({ copies }: Policy): Finding[] {
  return copies.flatMap((copy, i) => {
    if (copy.kind !== 's3') return [];
    if ((copy.accessKeyId === undefined) !== (copy.secretAccessKey === undefined)) {
      const text = 'accessKeyId and secretAccessKey go together: give both, or neither for the default chain';
      return [error(['copies', i], text)];
    }
    const [write, remove] = [credentialsFor(copy, 'write'), credentialsFor(copy, 'delete')];
    if (write === null || write.secretAccessKey !== remove?.secretAccessKey) return [];
    const text =
      'the key pair that writes also deletes: whoever has it can remove every backup there that is not locked; name one for each under credentials';
    return [warning(['copies', i], text)];
  });
}

/** What is called immutable is so only where a copy locks it. */
function checkLocks(policy: Policy): Finding[] {
  const { copies, calendar, sources } = policy;
  const calendars: [Finding['path'], CalendarPolicy][] = [
    [['calendar'], calendar],
    ...sources.flatMap((s, i): [Finding['path'], CalendarPolicy][] =>
      s.calendar ? [[['sources', i, 'calendar'], s.calendar]] : [],
    ),
  ];
  const locking = copies.flatMap((copy, i) => (copy.kind === 's3' && copy.lock ? [{ copy, i }] : []));
  if (locking.length === 0) {
    return calendars.flatMap(([path, own]) => {
      const immutable = scheduledClasses.filter((name) => own[name].immutable && own[name].keep > 0);
      if (immutable.length === 0) return [];
      const text = `${immutable.join(' and ')} backups are called immutable, and no copy has a lock that makes them so`;
      return [warning(path, text)];
    });
  }
  return locking.flatMap(({ copy, i }) => {
    const { pruneAfter } = copy;
    if (pruneAfter === undefined) return [];
    const longestMs = longestLockMs(policy, copy);
    if (longestMs <= durationSeconds(pruneAfter) * 1000) return [];
    const text = `what is locked here stays for up to ${formatDuration(longestMs)}, longer than ${pruneAfter}`;
    return [warning(['copies', i, 'pruneAfter'], text)];
  });
}

/** A file tree that holds copies or staging would back itself up; one within them would be changed by backing up. */
function checkSources({ sources, copies, staging }: Policy): Finding[] {
  const own = [
    { path: staging.path, what: 'staging.path' },
    ...copies.flatMap((c) => foldersOf(c).map((path) => ({ path, what: `the copy "${c.name}"` }))),
  ];
  return sources.flatMap((source, i) => {
    if (source.kind !== 'files') return [];
    const at = ['sources', i, 'path'];
    return own.flatMap(({ path, what }) => {
      if (isWithin(source.path, path))
        return [error(at, `lies within ${what} (${path}), where the backups are: it would back itself up`)];
      if (!isWithin(path, source.path) || isExcluded(path, source.path, source.exclude)) return [];
      return [
        error(
          at,
          `holds ${what} (${path}), so it would back itself up; add "${relativeTo(path, source.path)}" to its exclude`,
        ),
      ];
    });
  });
}

function checkDeadlines({ sources, copies }: Policy): Finding[] {
  const strictest = sources.toSorted((a, b) => durationSeconds(a.rpo) - durationSeconds(b.rpo))[0];
  if (!strictest) return [];
  return copies.flatMap((copy, i) => {
    if (durationSeconds(copy.deadline) <= durationSeconds(strictest.rpo)) return [];
    const text = `may take ${copy.deadline}, longer than the ${strictest.rpo} of data that "${strictest.name}" may lose: a copy can be late without being noticed`;
    return [warning(['copies', i, 'deadline'], text)];
  });
}

/** The 3-2-1 rule with every copy made and verified: what is breached then cannot be kept. */
function checkRule(policy: Policy): Finding[] {
  const verdict = judgePolicy(policy, () => true);
  return verdict.breaches.map((b) => warning(['copies'], `the 3-2-1 rule cannot be kept: ${b}`));
}

/** A folder is left out when a glob matches it, or one above it. */
function isExcluded(inner: string, outer: string, exclude: string[]): boolean {
  const matches = picomatch(exclude, { dot: true });
  const parts = relativeTo(inner, outer).split('/');
  return exclude.length > 0 && parts.some((_, i) => matches(parts.slice(0, i + 1).join('/')));
}
