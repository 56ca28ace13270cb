import type { Duplex } from "node:stream";

/** Joins two sockets for good: bytes flow both ways at the slower one's pace, and the end of either ends both. */
export function spliceSockets(near: Duplex, nearHead: Uint8Array, far: Duplex, farHead: Uint8Array): void {
  if (nearHead.length > 0) far.write(nearHead);
  if (farHead.length > 0) near.write(farHead);
  join(near, far);
  join(far, near);
}

function join(from: Duplex, to: Duplex): void {
  // A half-close travels on; a loss takes the other side down.
  from.pipe(to);
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroy());
}
