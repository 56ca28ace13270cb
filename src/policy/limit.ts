import { errors } from "../errors.ts";
import type { Gate, Handler, Layer, LayerCall } from "./layer.ts";

/** At most so many calls of an app at once; the rest waits in a bounded queue. */
export const limit: Layer = {
  name: "limit",
  wrap(next, subject) {
    const { gate } = subject;
    // A sidecar under load has to stay alive in the eyes of its prober.
    if (gate === undefined || subject.isProbe) return undefined;
    return (call) => {
      const turn = gate.enter(call.signal);
      return turn === undefined ? inside(gate, next, call) : turn.then(() => inside(gate, next, call));
    };
  },
};

function inside<C extends LayerCall, R>(gate: Gate, next: Handler<C, R>, call: C): R | Promise<R> {
  let reply: R | Promise<R>;
  try {
    reply = next(call);
  } catch (error) {
    gate.leave();
    throw error;
  }
  if (reply instanceof Promise) return reply.finally(() => gate.leave());
  gate.leave();
  return reply;
}

/** A gate with `callsMax` places and a first-come queue of `queueMax`. */
export function createGate(callsMax: number, queueMax: number): Gate {
  let running = 0;
  const queue: (() => void)[] = [];

  function wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      function admit(): void {
        signal.removeEventListener("abort", give);
        resolve();
      }
      function give(): void {
        queue.splice(queue.indexOf(admit), 1);
        reject(errors.CALLS_LIMIT(String(callsMax), { cause: signal.reason }));
      }
      signal.addEventListener("abort", give, { once: true });
      queue.push(admit);
    });
  }

  return {
    enter(signal) {
      if (running < callsMax) {
        running++;
        return undefined;
      }
      if (queue.length >= queueMax || signal.aborted) {
        return Promise.reject(errors.CALLS_LIMIT(String(callsMax)));
      }
      return wait(signal);
    },
    leave() {
      // The place goes straight to the next in the queue, so nobody can slip in between.
      const next = queue.shift();
      if (next === undefined) running--;
      else next();
    },
  };
}
