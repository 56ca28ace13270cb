import { type Clock, realClock } from "../../src/edges/clock.ts";
import { type Edges, realEdges } from "../../src/edges/edges.ts";

/** Real edges whose timers fire so much sooner: for deadlines that nobody can set. */
export function hastyEdges(times: number): Edges {
  const clock: Clock = {
    ...realClock,
    setTimer: (delayMs, callback, options) => realClock.setTimer(delayMs / times, callback, options),
  };
  return { ...realEdges(), clock };
}
