/** What a connection can do to come to its end. */
export interface Draining {
  /** Its socket is gone. */
  closed: Promise<void>;
  /** Sends the GOAWAY that excludes nothing; resolves when the client has answered a ping sent behind it. */
  warn(): Promise<void>;
  /** Sends the GOAWAY that excludes what was not opened yet. */
  refuseFurther(): void;
  /** Resolves when no request is left. */
  emptied(): Promise<void>;
  /** Lets what was written leave, then closes. */
  end(): void;
  destroy(): void;
}

/** How long the answer to the ping between the two GOAWAYs may take, and the last frames to leave. */
const pingMs = 1000;
const flushMs = 100;

/**
 * Closes a connection without losing calls: the first GOAWAY only warns; requests that the client sent before it saw
 * the warning are still served; after a ping has come back the second one refuses what comes later. `giveUp` ends
 * what is left when the grace is over.
 */
export async function drain(connection: Draining, graceMs: number, giveUp: () => void): Promise<void> {
  const { closed } = connection;
  const grace = after(graceMs);
  if (graceMs > 0) await Promise.race([connection.warn(), after(pingMs).over, grace.over, closed]);
  connection.refuseFurther();
  const emptied = connection.emptied().then(() => true);
  const isEmpty = await Promise.race([emptied, grace.over, closed]);
  grace.cancel();
  if (isEmpty !== true) {
    giveUp();
    await Promise.race([emptied, after(flushMs).over, closed]);
  }
  connection.end();
  const cut = setTimeout(() => connection.destroy(), flushMs);
  await closed;
  clearTimeout(cut);
}

function after(delayMs: number): { over: Promise<void>; cancel(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, delayMs);
    timer.unref();
  });
  return { over, cancel: () => clearTimeout(timer) };
}
