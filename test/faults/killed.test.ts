import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { backUpAll, planStorm, storm, tally } from './storm/storm.ts';
import { examine } from './storm/truth.ts';
import { startWorld, type World } from './storm/world.ts';

/**
 * SIGKILL of everything that there is, at moments drawn from a seed, while backups, restores and expiry are under way.
 * `npm run soak` does the same for as long as one likes.
 */

const seed = 20_261_126;
const kills = 41;

let world: World;
beforeAll(async () => {
  world = await startWorld();
}, 300_000);
afterAll(() => world?.stop(), 180_000);

describe(`kill -9, seed ${seed}`, () => {
  test('loses nothing, doubles nothing, leaves nothing, and calls nothing good that is not', async () => {
    const earlier = await backUpAll(world);
    const names = world.components.map(({ name }) => name);
    const happened = await storm(world, planStorm(seed, kills, names));
    expect(happened.kills).toHaveLength(kills);
    expect([...tally(happened.kills).keys()].toSorted()).toEqual(names.toSorted());
    expect(await examine(world, happened, earlier)).toEqual([]);
  }, 2_400_000);
});
