import type { ServerHttp2Session } from "node:http2";

const streamIdMax = 2 ** 31 - 1;
/** How long the answer to the ping between the two GOAWAYs may take. */
const pingMs = 1000;
/** For the last trailers to leave before the socket is cut. */
const flushMs = 100;

/**
 * Closes a session without losing calls: the first GOAWAY only warns; calls the client sent before it saw the
 * warning are still served; after a ping has come back the second GOAWAY refuses what comes later. `giveUp` ends the
 * calls that are left when the grace is over.
 */
export function drainSession(
  session: ServerHttp2Session,
  graceMs: number,
  giveUp: () => void,
): Promise<void> {
  if (session.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let cut: ReturnType<typeof setTimeout>;
    const late = setTimeout(() => {
      giveUp();
      cut = setTimeout(() => session.destroy(), flushMs);
    }, graceMs);
    session.once("close", () => {
      clearTimeout(late);
      clearTimeout(cut);
      resolve();
    });
    if (graceMs > 0) warnThenClose(session);
    else session.close();
  });
}

function warnThenClose(session: ServerHttp2Session): void {
  const close = () => {
    if (!session.destroyed && !session.closed) session.close();
  };
  const late = setTimeout(close, pingMs);
  session.goaway(0, streamIdMax);
  session.ping(() => {
    clearTimeout(late);
    close();
  });
}
