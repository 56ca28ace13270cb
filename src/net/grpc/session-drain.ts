import type { ServerHttp2Session } from "node:http2";

const streamIdMax = 2 ** 31 - 1;
/** How long the answer to the ping between the two GOAWAYs may take. */
const pingMs = 1000;

/**
 * Closes a session without losing calls: the first GOAWAY only warns; calls the client sent before it saw the
 * warning are still served; after a ping has come back the second GOAWAY refuses what comes later.
 */
export function drainSession(session: ServerHttp2Session, graceMs: number): Promise<void> {
  if (session.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const cut = setTimeout(() => session.destroy(), graceMs);
    session.once("close", () => {
      clearTimeout(cut);
      resolve();
    });
    if (graceMs > 0) warnThenClose(session);
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
