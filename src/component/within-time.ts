import type { Clock } from "../edges/clock.ts";

/** A server has not answered in time. */
export class NoAnswer extends Error {
  override name = "NoAnswer";
}

/** The work, or `NoAnswer` after the time, when `leave` is called too: for what would go on waiting. */
export async function withinTime<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  leave: () => void = () => {},
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = clock.setTimer(timeoutMs, () => {
    late.reject(new NoAnswer(`no answer within ${timeoutMs} ms`));
    leave();
  });
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    timer.cancel();
    // What it comes to after all is nobody's.
    work.catch(() => undefined);
  }
}
