import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";

const probeTimeoutMs = 1_000;

/** Makes way for a Unix socket: a file left by a dead process goes, anything else is an error. */
export async function claimSocketPath(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats) return;
  if (!stats.isSocket()) throw inUse(`${path} exists and is not a socket`);
  if (await answers(path)) throw inUse(`${path} is in use by another process`);
  await unlink(path);
}

/** Removes the file at close; Node and Bun do it themselves in most cases. */
export async function removeSocketFile(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats?.isSocket()) await unlink(path).catch(() => {});
}

function inUse(message: string): Error {
  return Object.assign(new Error(message), { code: "EADDRINUSE" });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (isAlive: boolean): void => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.once("connect", () => settle(true));
    // Only "nobody listens" proves the file stale; no permission or a full backlog do not.
    socket.once("error", (error: NodeJS.ErrnoException) => settle(error.code !== "ECONNREFUSED"));
    socket.setTimeout(probeTimeoutMs, () => settle(true));
  });
}
