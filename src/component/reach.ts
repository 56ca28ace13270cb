import type { Clock } from "../edges/clock.ts";
import type { Sockets } from "../edges/sockets.ts";
import { withinTime } from "./within-time.ts";

interface Reaching {
  sockets: Sockets;
  clock: Clock;
  timeoutMs: number;
}

/** Connects to the server of an address, and leaves again; rejects when nobody listens there. */
export async function reach(address: string, { sockets, clock, timeoutMs }: Reaching): Promise<void> {
  const { protocol, hostname, port } = new URL(address);
  const standard = protocol === "https:" || protocol === "wss:" ? 443 : 80;
  const socket = sockets.connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || standard });
  const connected = new Promise<void>((done, failed) => {
    socket.once("connect", () => done()).once("error", failed);
  });
  try {
    await withinTime(clock, timeoutMs, connected);
  } finally {
    socket.destroy();
  }
}
