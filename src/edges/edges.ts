import { type Clock, realClock } from "./clock.ts";
import { type Files, realFiles } from "./files.ts";
import { type Random, realRandom } from "./random.ts";
import { realSockets, type Sockets } from "./sockets.ts";

/** What reaches mecha's core from outside: handed down from `host/`, so that a simulated set can take its place. */
export interface Edges {
  clock: Clock;
  random: Random;
  files: Files;
  sockets: Sockets;
}

export function realEdges(): Edges {
  return { clock: realClock, random: realRandom, files: realFiles, sockets: realSockets };
}
