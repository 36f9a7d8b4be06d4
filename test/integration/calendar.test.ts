import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { backupNow, duesBetween } from '../../policies/calendar.ts';
import { type CalendarPolicy, calendarPolicy } from '../../policies/calendar-policy.ts';
import { scheduleSpec } from '../../policies/schedule-spec.ts';
import { services } from '../support/services.ts';

let connection: Connection;
let client: Client;

beforeAll(async () => {
  const { temporal } = await services();
  connection = await Connection.connect({ address: temporal.address });
  client = new Client({ connection, namespace: temporal.namespace });
});
afterAll(() => connection?.close());

/** The server answers with a thousand times at most. */
const years = [2026, 2027, 2028, 2029, 2030];

/** When a schedule with this calendar would fire over five years, by the server that would fire it. */
async function temporalTimes(calendar: CalendarPolicy): Promise<string[]> {
  const handle = await client.schedule.create({
    scheduleId: `calendar-${randomUUID()}`,
    spec: { ...scheduleSpec(calendar), jitter: 0 },
    action: { type: 'startWorkflow', workflowType: 'nothing', taskQueue: 'nobody' },
    state: { paused: true },
  });
  try {
    const times: string[] = [];
    for (const year of years) {
      const { startTime } = await client.workflowService.listScheduleMatchingTimes({
        namespace: client.options.namespace,
        scheduleId: handle.scheduleId,
        startTime: { seconds: (Date.UTC(year) / 1000 - 1) as never },
        endTime: { seconds: (Date.UTC(year + 1) / 1000 - 1) as never },
      });
      for (const { seconds } of startTime ?? []) times.push(new Date(Number(seconds) * 1000).toISOString());
    }
    return times;
  } finally {
    await handle.delete();
  }
}

const span = ['2025-12-31T23:59:59.000Z', '2030-12-31T23:59:59.000Z'] as const;

/** The instants of our own calendar; nothing absorbs anything, so that every moment of every class is there. */
function ourTimes(calendar: CalendarPolicy): string[] {
  const dues = duesBetween({ ...calendar, absorbWithin: '1s' }, ...span);
  return [...new Set(dues.map((d) => d.at))];
}

const dayMs = 86_400_000;

describe("over five years, Temporal's own times", () => {
  test.each(['UTC', 'Asia/Kolkata', 'America/New_York', 'America/Santiago', 'Africa/Cairo', 'Atlantic/Azores'])(
    'are those of the calendar in %s, over every change of the clock',
    async (timeZone) => {
      const calendar = calendarPolicy.parse({ timeZone });
      expect(await temporalTimes(calendar)).toEqual(ourTimes(calendar));
    },
  );

  // What its documentation says of changes of the clock (literal matching, none or two) the server does not do
  // everywhere: east of Greenwich it takes the second of two, and one more an hour too late; where a day begins at
  // 01:00 it may miss a weekday. So its times are only the alarm clock, and what is due is decided by ours.
  test.each(
    ['Europe/Berlin', 'Europe/London', 'Pacific/Auckland', 'Australia/Lord_Howe', 'America/Havana'].flatMap((zone) =>
      ['00:30', '01:30', '02:00', '02:15'].map((at) => [zone, at] as const),
    ),
  )('make every backup once, and in time, with a daily one in %s at %s', async (timeZone, at) => {
    const calendar = calendarPolicy.parse({ timeZone, daily: { at } });
    let coveredUntil: string = span[0];
    const made: string[] = [];
    const late: string[] = [];
    for (const now of await temporalTimes(calendar)) {
      const { due, lapsed } = backupNow(calendar, { coveredUntil, now });
      expect(lapsed).toEqual([]);
      made.push(...due.map((d) => d.at));
      late.push(...due.filter((d) => Date.parse(now) - Date.parse(d.at) > dayMs).map((d) => d.at));
      coveredUntil = made.at(-1) ?? coveredUntil;
    }
    expect(late).toEqual([]);
    const dues = duesBetween(calendar, ...span).map((d) => d.at);
    expect(made).toEqual(dues.filter((d) => d <= coveredUntil));
    expect(dues.length - made.length).toBeLessThanOrEqual(1);
  });
});
