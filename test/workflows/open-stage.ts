import { afterAll, beforeAll, beforeEach } from '@jest/globals';
import { Stage } from './stage.ts';
import type { StandIns } from './stand-ins.ts';

/**
 * The stage of a test file, and its stand-ins: whoever imports them has the stage opened before its tests and closed after
 * them, and each test begins with stand-ins that know nothing of the one before.
 */
export let stage: Stage;
export let steps: StandIns;

beforeAll(async () => {
  stage = await Stage.open();
  steps = stage.standIns;
});
afterAll(() => stage?.close());
beforeEach(() => steps.clear());
