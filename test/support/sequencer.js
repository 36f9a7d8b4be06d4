import TestSequencer from '@jest/test-sequencer';

/** Rooms whose files take minutes. Begun last, one of them would have the other core wait for it alone. */
const slowFirst = ['/test/faults/', '/test/interop/', '/test/integration/', '/test/workflows/'];

const rank = ({ path }) => {
  const place = slowFirst.findIndex((room) => path.includes(room));
  return place < 0 ? slowFirst.length : place;
};

/** Slow rooms first; within a room as Jest does it: by what the last run took, or by the size of the file. */
export default class SlowRoomsFirst extends TestSequencer {
  sort(tests) {
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
}
