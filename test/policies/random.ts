export interface Random {
  /** From 0 inclusive to 1 exclusive. */
  real(): number;
  /** A whole number from 0 to below `n`. */
  below(n: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** At least one of them. */
  some<T>(from: readonly T[]): T[];
  shuffle<T>(list: readonly T[]): T[];
}

// Jest answers each question for a global itself: named here, they are asked for once.
const { floor, imul } = Math;

/** Mulberry32: the same numbers for the same seed, on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed;
  const real = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = imul(state ^ (state >>> 15), 1 | state);
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => floor(real() * n);
  function pick<T>(from: readonly T[]): T {
    const found = from[below(from.length)];
    if (found === undefined) throw new RangeError('there is nothing to pick from');
    return found;
  }
  return {
    real,
    below,
    pick,
    chance: (probability) => real() < probability,
    some: (from) => {
      const first = pick(from);
      return from.filter((x) => x === first || real() < 0.3);
    },
    shuffle: (list) =>
      list
        .map((value) => ({ value, key: real() }))
        .sort((a, b) => a.key - b.key)
        .map((x) => x.value),
  };
}
