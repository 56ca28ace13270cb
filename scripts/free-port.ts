import { createServer } from "node:net";

/** Below the ports that systems give to outgoing connections. */
const lowest = 10_000;
const count = 20_000;
const triesMax = 200;

/**
 * A port on loopback that nobody has, for a server that may be killed and come back on it. While it is dead nobody
 * else's connection gets the port; nor does that of a client that asks for the server, which could meet itself there.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries++) {
    const port = lowest + Math.floor(Math.random() * count);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of ${triesMax} ports from ${lowest} to ${lowest + count - 1} is free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
