import { choosePort } from "../src/host/free-port.ts";

/**
 * A port on loopback that nobody has, for a server that may be killed and come back on it. While it is dead nobody
 * else's connection gets the port; nor does that of a client that asks for the server, which could meet itself there.
 */
export async function freePort(): Promise<number> {
  const port = await choosePort(0);
  if (port === 0) throw new Error("no port was free");
  return port;
}
