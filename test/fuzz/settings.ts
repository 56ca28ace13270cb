import type { Parameters } from "fast-check";

/** `npm test -- fuzz --runs 10000 --seed 7`; the seed of a failure is printed with the counterexample. */
export function runs<T>(standard: number): Parameters<T> {
  const seed = process.env.MECHA_TEST_SEED;
  return {
    numRuns: Number(process.env.MECHA_TEST_RUNS ?? standard),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  };
}
