import type { Info } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { Heartbeat } from '../../activities/failure.ts';

/** A place to run one activity in, as a worker gives it. What fails here is made to fail: it needs no log. */
export function activityEnvironment(info: Partial<Info> = {}): MockActivityEnvironment & { beats: Heartbeat[] } {
  const environment = new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') });
  const beats: Heartbeat[] = [];
  environment.on('heartbeat', (beat: Heartbeat) => beats.push(beat));
  return Object.assign(environment, { beats });
}

/** What an activity failed of, as the SDK gets it. */
export async function errorOf(work: Promise<unknown>): Promise<Error> {
  const ended = await work.then(
    (value) => ({ value }),
    (error: Error) => ({ error }),
  );
  if ('error' in ended) return ended.error;
  throw new Error(`It did not fail, but answered ${JSON.stringify(ended.value)}.`);
}
