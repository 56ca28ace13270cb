import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ClientSession } from "../http2/client-session.ts";
import { Channel } from "./channel.ts";
import { trunkHeaderBytesMax, trunkProtocol, trunkWindows } from "./protocol.ts";

/** The peer does not carry others on this connection: it is an older one, or wants to say why on a plain one. */
export class NoTrunk extends Error {}

/** One TLS connection to a peer, and all others to it as channels on it: what they send in a turn leaves in one write. */
export class Trunk {
  /** More channels may be opened. */
  isUsable = true;
  readonly #carrier: Socket;
  readonly #waiting = new Set<Channel>();
  #session: ClientSession | undefined;
  #isReady = false;
  #channels = 0;

  /** `carrier` is about to connect. `verify` throws when the peer is not the one that was meant. */
  constructor(carrier: Socket, verify: ((carrier: TLSSocket) => void) | undefined) {
    this.#carrier = carrier;
    carrier.on("error", (error) => this.#lost(error));
    carrier.on("close", () => this.#lost(new Error("connection closed")));
    carrier.once("secureConnect", () => this.#begin(carrier as TLSSocket, verify));
  }

  /** A socket that is about to connect. */
  open(): Socket {
    const channel = new Channel();
    if (this.#isReady) this.#start(channel);
    else {
      this.#waiting.add(channel);
      channel.once("close", () => {
        this.#waiting.delete(channel);
        this.#closeUnused();
      });
    }
    return channel.asSocket();
  }

  /** No more channels are opened; it ends with the last one. */
  retire(): void {
    this.isUsable = false;
    this.#closeUnused();
  }

  #begin(carrier: TLSSocket, verify: ((carrier: TLSSocket) => void) | undefined): void {
    try {
      if (carrier.alpnProtocol !== trunkProtocol) throw new NoTrunk("the peer knows no trunks");
      verify?.(carrier);
    } catch (error) {
      this.#lost(error as Error);
      carrier.destroy();
      return;
    }
    const settings = { ...trunkWindows, maxHeaderListBytes: trunkHeaderBytesMax };
    this.#session = new ClientSession(
      carrier,
      { ...settings, scheme: "https", authority: "peer" },
      {
        onReady: () => this.#ready(),
        onGoaway: () => this.retire(),
        onClose: (reason) => this.#lost(new Error(reason ?? "connection closed")),
      },
    );
  }

  #ready(): void {
    this.#isReady = true;
    for (const channel of this.#waiting) this.#start(channel);
    this.#waiting.clear();
  }

  #start(channel: Channel): void {
    try {
      const stream = (this.#session as ClientSession).open({ ":method": "POST", ":path": "/" }, channel);
      channel.begin(stream, this.#carrier);
      this.#channels++;
      stream.onRelease = () => {
        this.#channels--;
        this.#closeUnused();
      };
    } catch (error) {
      this.isUsable = false;
      channel.destroy(error as Error);
    }
  }

  #closeUnused(): void {
    if (!this.isUsable && this.#channels === 0 && this.#waiting.size === 0) this.#carrier.destroy();
  }

  #lost(error: Error): void {
    this.isUsable = false;
    // A peer that refuses this one's certificate has no other way to say so.
    const isRefused = this.#session !== undefined && !this.#isReady;
    for (const channel of this.#waiting) channel.destroy(isRefused ? new NoTrunk(error.message) : error);
    this.#waiting.clear();
  }
}
