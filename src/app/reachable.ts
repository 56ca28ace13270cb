import { type Clock, sleep } from "../edges/clock.ts";
import type { Sockets } from "../edges/sockets.ts";
import type { Log } from "../telemetry/telemetry.ts";

export interface AppAddress {
  host: string;
  port: number;
}

const pollIntervalMs = 50;
const connectTimeoutMs = 500;

/** Waits until something accepts connections on the app's port; for ever unless aborted. */
export async function waitForPort(
  address: AppAddress,
  signal: AbortSignal,
  { clock, sockets, log }: { clock: Clock; sockets: Sockets; log: Log },
): Promise<void> {
  log.info(
    {},
    `waiting for application to listen on port ${address.port}. This will block until the app is listening on that port.`,
  );
  while (!(await accepts(sockets, address, signal))) {
    if (signal.aborted) throw signal.reason;
    await sleep(clock, pollIntervalMs, signal);
  }
  log.info({}, `application discovered on port ${address.port}`);
}

function accepts(sockets: Sockets, address: AppAddress, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = sockets.connect(address);
    const settle = (isAccepted: boolean): void => {
      signal.removeEventListener("abort", refuse);
      socket.destroy();
      resolve(isAccepted);
    };
    const refuse = (): void => settle(false);
    socket.setTimeout(connectTimeoutMs, refuse);
    socket.once("connect", () => settle(true));
    socket.once("error", refuse);
    signal.addEventListener("abort", refuse, { once: true });
  });
}
