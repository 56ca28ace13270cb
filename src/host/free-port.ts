import { createServer } from "node:net";

/** Below the ports that systems give to outgoing connections: who is to listen only later still finds it free. */
const lowest = 10_000;
const count = 20_000;
const triesMax = 100;
/** Where the next one is looked for: what was chosen before may not be listened to yet, and is not chosen again. */
let next = lowest + Math.floor(Math.random() * count);

/** `wanted` when nobody listens on it, else one that is free; 0 when none was found. */
export async function choosePort(wanted: number, host = "127.0.0.1"): Promise<number> {
  if (wanted > 0 && (await isFree(wanted, host))) return wanted;
  for (let tries = 0; tries < triesMax; tries++) {
    const port = next;
    next = port + 1 < lowest + count ? port + 1 : lowest;
    if (await isFree(port, host)) return port;
  }
  return 0;
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
