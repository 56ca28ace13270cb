import type { Duplex } from "node:stream";
import type { MessageHead } from "./head.ts";
import type { StatusLine } from "./start-line.ts";
import type { Body, HttpResponse, RawHeaders } from "./types.ts";

/** A response as the client hands it out. */
export class Answer implements HttpResponse {
  readonly status: number;
  readonly reason: string;
  readonly body: Body;
  readonly upgrade: { socket: Duplex; head: Uint8Array } | undefined;
  private readonly head: MessageHead;

  constructor(head: MessageHead, line: StatusLine, body: Body, upgrade?: HttpResponse["upgrade"]) {
    this.status = line.status;
    this.reason = line.reason;
    this.body = body;
    this.head = head;
    this.upgrade = upgrade;
  }

  get rawHeaders(): RawHeaders {
    return this.head.rawHeaders;
  }

  header(lowerName: string): string | undefined {
    return this.head.header(lowerName);
  }
}
