import { jsonMembers } from "../../kit/json-members.ts";
import { parseTraceparent } from "../../telemetry/propagation.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import { NotACloudEvent } from "./envelope.ts";
import { type EnvelopeHead, readHead } from "./envelope-head.ts";

const expirationName = Buffer.from('"expiration"');

/** A CloudEvent in its JSON form, as it came from the broker. Parsed when something asks for an attribute. */
export class CloudEvent {
  readonly bytes: Uint8Array;
  #attributes: Record<string, unknown> | undefined;
  #text: string | undefined;
  #dataText: string | undefined;
  #head: EnvelopeHead | undefined | null = null;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** All attributes and `data`. Throws `NotACloudEvent`. */
  get attributes(): Record<string, unknown> {
    if (this.#attributes !== undefined) return this.#attributes;
    let value: unknown;
    try {
      value = JSON.parse(this.#json());
    } catch (error) {
      throw new NotACloudEvent(error instanceof Error ? error.message : String(error), error);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new NotACloudEvent("not a JSON object");
    }
    this.#attributes = value as Record<string, unknown>;
    return this.#attributes;
  }

  /** An attribute when it is text, else empty: foreign events may carry numbers where text belongs. */
  text(name: string): string {
    const value = this.attributes[name];
    return typeof value === "string" ? value : "";
  }

  /** The JSON text of `data` as the publisher wrote it; `undefined` when there is none. */
  get dataText(): string | undefined {
    if (this.attributes.data === undefined) return undefined;
    this.#dataText ??= jsonMembers(this.#json()).get("data");
    return this.#dataText;
  }

  /** The id for log lines: never throws. */
  get idForLog(): string {
    try {
      return this.text("id");
    } catch {
      return "";
    }
  }

  /** Whether mecha wrote these bytes, which makes their beginning readable without parsing. */
  get isOwn(): boolean {
    return this.#ownHead() !== undefined;
  }

  get trace(): SpanContext | undefined {
    const head = this.#ownHead();
    if (head !== undefined) return parseTraceparent(head.traceparent, head.tracestate);
    return parseTraceparent(this.text("traceparent") || this.text("traceid"), this.text("tracestate"));
  }

  get baggage(): string {
    return this.#ownHead()?.baggage ?? this.text("baggage");
  }

  /** Whether `expiration` lies in the past. Events without that word need no parsing. */
  hasExpired(nowMs: number): boolean {
    const { buffer, byteOffset, byteLength } = this.bytes;
    if (Buffer.from(buffer, byteOffset, byteLength).indexOf(expirationName) === -1) return false;
    const expiresAtMs = Date.parse(this.text("expiration"));
    return expiresAtMs < nowMs;
  }

  #ownHead(): EnvelopeHead | undefined {
    if (this.#head === null) this.#head = readHead(this.bytes);
    return this.#head;
  }

  #json(): string {
    const { buffer, byteOffset, byteLength } = this.bytes;
    this.#text ??= Buffer.from(buffer, byteOffset, byteLength).toString("utf8");
    return this.#text;
  }
}
