import { describe, expect, test } from '@jest/globals';
import { parsePolicy } from '../../policies/parse.ts';
import type { Policy } from '../../policies/policy.ts';
import { desiredSchedules, scheduleChanges } from '../../policies/schedules.ts';
import { examplePolicy } from './example-policy.ts';

const policy = parsePolicy(examplePolicy, 'policy.yaml');
const wanted = desiredSchedules(policy);

/** The policy with another calendar for everything. */
const withCalendar = (change: Partial<Policy['calendar']>): Policy => ({
  ...policy,
  calendar: { ...policy.calendar, ...change },
  sources: policy.sources.map(({ calendar, ...rest }) => rest as Policy['sources'][number]),
});

describe('the schedules of a policy', () => {
  test('are one per source, named after it, and one that expires', () => {
    expect(wanted.map((s) => s.id)).toEqual([...policy.sources.map((s) => `backup/${s.name}`), 'retention']);
    expect(wanted[0]?.definition.input).toEqual({ source: policy.sources[0]?.name });
  });

  test('look each day for what may go, by the clock of the calendar', () => {
    const { definition } =
      desiredSchedules({ ...policy, retention: { ...policy.retention, at: '11:45' } }).at(-1) ?? {};
    expect(definition).toMatchObject({
      workflowType: 'retention',
      input: {},
      spec: { timezone: policy.calendar.timeZone, calendars: [{ comment: 'retention', hour: 11, minute: 45 }] },
      overlap: 'skip',
    });
  });

  test('are none for a policy without sources', () => {
    expect(desiredSchedules({ ...policy, sources: [] })).toEqual([]);
  });

  test('make no backups for a calendar that makes none', () => {
    const { hourly, daily, weekly, monthly, yearly } = policy.calendar;
    const off = <T extends { keep: number }>(c: T): T => ({ ...c, keep: 0 });
    const none = withCalendar({
      hourly: off(hourly),
      daily: off(daily),
      weekly: off(weekly),
      monthly: off(monthly),
      yearly: off(yearly),
    });
    expect(desiredSchedules(none).map((s) => s.id)).toEqual(['retention']);
  });
});

describe('applying a policy', () => {
  test('changes nothing the second time', () => {
    const stored = JSON.parse(JSON.stringify(wanted));
    expect(scheduleChanges(wanted, stored)).toEqual({ create: [], update: [], remove: [], same: wanted });
  });

  test('makes what is missing and removes what is no longer wanted', () => {
    const [first, ...others] = wanted;
    const gone = {
      id: 'backup/gone',
      definition: first?.definition ?? wanted[0]?.definition,
    } as (typeof wanted)[number];
    const changes = scheduleChanges(wanted, [...others, gone]);
    expect(changes.create).toEqual([first]);
    expect(changes.remove).toEqual([gone]);
  });

  test('says what differs, class by class', () => {
    const later = desiredSchedules(withCalendar({ daily: { ...policy.calendar.daily, at: '05:30' } }));
    const before = desiredSchedules(withCalendar({}));
    expect(scheduleChanges(later, before).update[0]?.differences).toEqual([
      'daily: hour 2, minute 0 → hour 5, minute 30',
    ]);
  });

  test('tells a class that is no longer made', () => {
    const fewer = desiredSchedules(withCalendar({ yearly: { ...policy.calendar.yearly, keep: 0 } }));
    const before = desiredSchedules(withCalendar({}));
    expect(scheduleChanges(fewer, before).update[0]?.differences).toEqual([
      expect.stringMatching(/^yearly: .*→ none$/),
    ]);
  });
});
