/** First of the 2,049 internal ports that are derived from app ids (dapr-api.md §1.1). */
const internalPortFirst = 47300;
const internalPortCount = 2050;

/** A stable internal port for an app id: FNV-1a over the id into 47300..49347. The caller falls back to port 0. */
export function internalPortOf(appId: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(appId)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return internalPortFirst + (hash % (internalPortCount - 2));
}

/** Listens on the port, or on any one when somebody has just taken it. */
export async function listenNear(port: number, listen: (port: number) => Promise<number>): Promise<number> {
  try {
    return await listen(port);
  } catch (error) {
    if (port === 0 || (!isPortTaken(error) && !isPortTaken((error as Error).cause))) throw error;
    return listen(0);
  }
}

/** Whether a listen error only says that the address is taken. */
export function isPortTaken(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === "EADDRINUSE";
}
