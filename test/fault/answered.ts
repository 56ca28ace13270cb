import { ServerUnavailable } from "../../src/component/server-unavailable.ts";

const withinMs = 20_000;

/**
 * What is given once there is an answer. Faults are provoked with timeouts of about a second: on a busy machine an
 * answer may take longer than that while all is well, and then it is asked again.
 */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ServerUnavailable) || performance.now() > endMs) throw error;
    }
  }
}
