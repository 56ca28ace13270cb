import type { Upstream } from "./upstream.ts";

/** Instances of one priority; the first level is the nearest. */
export interface Level {
  all: Upstream[];
  healthy: Upstream[];
}

/** A level takes all calls while this much of it, times its healthy share, makes a whole (Envoy's overprovisioning). */
const overprovisioning = 1.4;

/**
 * The instances one of which gets the call. What the healthy ones of a level can not take goes to the next. When all
 * levels together can not take everything, a level with less than `panicPercent` healthy ones uses all it has: half of
 * the instances would only break under the load of the whole.
 */
export function chooseLevel(levels: readonly Level[], panicPercent: number, chance: number): Upstream[] {
  const loads: number[] = [];
  let sum = 0;
  for (const { all, healthy } of levels) {
    const share = all.length === 0 ? 0 : Math.min(1 - sum, (healthy.length / all.length) * overprovisioning);
    loads.push(share);
    sum += share;
  }
  const panics = levels.map((level) => sum < 1 - 1e-9 && isPanic(level, panicPercent));
  if (panics.every((panic) => panic)) return levels.flatMap(({ all }) => all);
  let left = chance * sum;
  for (const [index, { all, healthy }] of levels.entries()) {
    left -= loads[index] as number;
    if (left < 0) return panics[index] ? all : healthy;
  }
  return levels.flatMap(({ healthy }) => healthy);
}

function isPanic({ all, healthy }: Level, panicPercent: number): boolean {
  return all.length === 0 || healthy.length * 100 < all.length * panicPercent;
}
