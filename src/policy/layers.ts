import { authorize } from "./authorize.ts";
import { baggage } from "./baggage.ts";
import type { Layer } from "./layer.ts";
import { limit } from "./limit.ts";
import { log } from "./log.ts";
import { meter } from "./meter.ts";
import { trace } from "./trace.ts";

/** The layers round every operation, in request order. Allow and deny lists come before: what they take away has no route. */
export const layers: readonly Layer[] = [
  trace, //     outermost: the span holds everything below, refusals too
  meter, //     counts what callers see, refusals too
  authorize, // before anything is done or written down for a caller without the token
  baggage, //   what goes on to others, of those who were let in
  log, //       what was let in, with how it ended
  limit, //     last: only calls that will run take a place
];
