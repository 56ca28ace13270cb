import { type Clock, realClock } from "./clock.ts";
import { type Random, realRandom } from "./random.ts";

/** What reaches mecha's core from outside: handed down from `host/`, so that a simulated set can take its place. */
export interface Edges {
  clock: Clock;
  random: Random;
}

export function realEdges(): Edges {
  return { clock: realClock, random: realRandom };
}
