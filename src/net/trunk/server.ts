import type { Socket } from "node:net";
import { errorCode } from "../http2/frames.ts";
import type { Http2Stream } from "../http2/http2-stream.ts";
import type { RequestHead } from "../http2/request-head.ts";
import { type ConnectionHost, ServerConnection } from "../http2/server-connection.ts";
import { Channel } from "./channel.ts";
import { trunkHeaderBytesMax, trunkWindows } from "./protocol.ts";

const trunksMax = 10_000;

/** The trunks that peers have to one port. */
export class TrunkServer implements ConnectionHost {
  readonly settings = {
    ...trunkWindows,
    concurrentStreamsMax: 10_000,
    maxHeaderListBytes: trunkHeaderBytesMax,
    // Those who call have shown who they are; under overload each call that is given up is a reset.
    resetsPerSecond: 100_000,
    idleMs: 60_000,
  };
  readonly #trunks = new Map<ServerConnection, (channel: Socket) => void>();
  #isClosing = false;

  /** Takes a connection over; `onChannel` gets each of those on it. */
  carry(carrier: Socket, onChannel: (channel: Socket) => void): void {
    if (this.#isClosing || this.#trunks.size >= trunksMax) {
      carrier.on("error", () => {});
      carrier.destroy();
    } else this.#trunks.set(new ServerConnection(carrier, this), onChannel);
  }

  /** No new channels; those that are open may end within `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    await Promise.all([...this.#trunks.keys()].map((trunk) => trunk.drain(graceMs, () => {})));
  }

  accept(stream: Http2Stream, _head: RequestHead, trunk: ServerConnection): void {
    const onChannel = this.#trunks.get(trunk);
    if (this.#isClosing || onChannel === undefined) {
      stream.reset(errorCode.refusedStream);
      return;
    }
    const channel = new Channel();
    channel.begin(stream, trunk.socket);
    // Until it comes nothing is sent, so whoever is refused may go elsewhere.
    stream.sendHead({ ":status": 200 });
    onChannel(channel.asSocket());
  }

  closed(trunk: ServerConnection): void {
    this.#trunks.delete(trunk);
  }
}
