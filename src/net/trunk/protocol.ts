/** What two mechas agree on by ALPN: HTTP/2, each of its streams one connection that speaks HTTP/1.1. */
export const trunkProtocol = "mecha-trunk/1";

/** A channel holds so much that nobody has read; what the trunk itself may hold is granted again on receipt. */
export const trunkWindows = { streamWindowBytes: 256 * 1024, connectionWindowBytes: 1024 * 1024 } as const;

/** Channels are opened with a few short lines. */
export const trunkHeaderBytesMax = 4096;
