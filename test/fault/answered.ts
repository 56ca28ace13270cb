import { isUnreachable } from "../../src/component/unreachable.ts";

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
      if (!isUnreachable(error) || performance.now() > endMs) throw error;
      await Bun.sleep(20);
    }
  }
}
