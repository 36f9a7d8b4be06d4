import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import { error, type Finding, warning } from './finding.ts';
import type { Policy } from './policy.ts';
import { nearest } from './spelling.ts';
import { isTimeZone } from './zone.ts';

/** What no single key of the calendars shows: zones that there are not, chains without a beginning, half a lock. */
export function checkCalendars({ calendar, sources }: Policy): Finding[] {
  const calendars: [Finding['path'], CalendarPolicy | undefined][] = [
    [['calendar'], calendar],
    ...sources.map((s, i): [Finding['path'], CalendarPolicy | undefined] => [['sources', i, 'calendar'], s.calendar]),
  ];
  return calendars.flatMap(([path, own]) => {
    if (!own) return [];
    const findings: Finding[] = [];
    if (!isTimeZone(own.timeZone)) {
      const meant = nearest(own.timeZone, Intl.supportedValuesOf('timeZone'));
      const hint = meant === undefined ? 'use an IANA name such as Europe/Berlin' : `did you mean "${meant}"?`;
      findings.push(error([...path, 'timeZone'], `there is no such time zone; ${hint}`));
    }
    const on = scheduledClasses.filter((name) => own[name].keep > 0);
    if (on.length > 0 && !on.some((name) => own[name].level === 'full')) {
      const text = 'no class makes full backups: every chain would hang on the first one for ever';
      findings.push(warning(path, text));
    }
    for (const name of on.filter((name) => own[name].immutable && own[name].level !== 'full')) {
      const text = `a lock on ${own[name].level} backups does not lock the full one that they need`;
      findings.push(warning([...path, name, 'immutable'], text));
    }
    return findings;
  });
}
