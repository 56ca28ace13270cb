import { type Controls, isPersistent } from "./controls.ts";
import type { MessageHead } from "./head.ts";
import type { RequestLine } from "./start-line.ts";
import type { Body, Cancellation, HttpRequest, RawHeaders } from "./types.ts";

/** Who is at the other end of a connection. */
export interface ConnectedPeer {
  readonly address: string;
  readonly socket: object;
}

/** One request on a server connection, and how far its answer is. */
export class Exchange implements HttpRequest, Cancellation {
  readonly method: string;
  readonly target: string;
  readonly minor: number;
  readonly body: Body;
  /** The client waits for `100 Continue` before it sends the body. */
  awaitsContinue: boolean;
  readonly asksUpgrade: boolean;
  /** A reply has been chosen; whatever the handler still says is ignored. */
  isReplied = false;
  /** The whole reply has been handed to the socket. */
  isSent = false;
  /** The connection ends with this reply. */
  closes: boolean;
  private readonly head: MessageHead;
  private readonly peer: ConnectedPeer;
  private controller: AbortController | undefined = undefined;
  private isAborted = false;
  private listener: (() => void) | undefined = undefined;

  constructor(head: MessageHead, line: RequestLine, controls: Controls, body: Body, peer: ConnectedPeer) {
    this.method = line.method;
    this.target = line.target;
    this.minor = line.minor;
    this.head = head;
    this.body = body;
    this.awaitsContinue = controls.expect !== undefined && line.minor === 1;
    this.asksUpgrade = controls.hasUpgrade;
    this.closes = !isPersistent(controls, line.minor);
    this.peer = peer;
  }

  get rawHeaders(): RawHeaders {
    return this.head.rawHeaders;
  }

  header(lowerName: string): string | undefined {
    return this.head.header(lowerName);
  }

  get remoteAddress(): string {
    return this.peer.address;
  }

  get connection(): object {
    return this.peer.socket;
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.isAborted) this.controller.abort();
    }
    return this.controller.signal;
  }

  get cancellation(): Cancellation {
    return this;
  }

  get isCancelled(): boolean {
    return this.isAborted;
  }

  listen(listener: (() => void) | undefined): void {
    this.listener = listener;
  }

  /** The client has gone away. */
  abort(): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.controller?.abort();
    this.listener?.();
  }
}
