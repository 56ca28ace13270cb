import type { AppChannel, AppHttpResponse } from "../../app/channel.ts";
import { CancellationGroup } from "./cancellation-group.ts";
import { cloudEventType, isEffectsType } from "./content-type.ts";
import { metadataHeaders, requestTarget } from "./http-headers.ts";
import { droppedByApp, type Outcome, retryAsked, success, unknownStatus } from "./outcome.ts";
import type { BulkEntry, DeliveryTarget, OutgoingBulk, OutgoingEvent } from "./target.ts";

/** Answers carry a status and perhaps a reason: more than this is not an answer to an event. */
const answerBytesMax = 4 * 1024 * 1024;
const shownBytesMax = 512;

/** Delivers to an HTTP app: POST on the route (dapr-api.md §6.7, §6.10). */
export class HttpTarget implements DeliveryTarget {
  readonly readsEvent = false;
  readonly #channel: AppChannel;
  readonly #timeoutMs: number;
  readonly #newId: () => string;
  readonly #groups = new WeakMap<AbortSignal, CancellationGroup>();

  constructor(channel: AppChannel, timeoutMs: number, newId: () => string) {
    this.#channel = channel;
    this.#timeoutMs = timeoutMs;
    this.#newId = newId;
  }

  async deliver(outgoing: OutgoingEvent, signal: AbortSignal): Promise<Outcome> {
    const { event } = outgoing;
    const group = this.#groupOf(signal);
    const cancellation = group.join();
    try {
      const response = await this.#channel.http({
        method: "POST",
        target: requestTarget(outgoing.path),
        headers: this.#headers(outgoing),
        body: event.bytes,
        trace: outgoing.trace,
        // Waiting for a place of app-max-concurrency listens to the signal, the call itself to the cancellation.
        signal,
        cancellation,
        timeoutMs: this.#timeoutMs,
      });
      const answer = response.body.bytes(answerBytesMax);
      const bytes = answer instanceof Promise ? await this.#inTime(answer) : answer;
      const isEffects = bytes.length > 0 && isEffectsType(response.header("content-type"));
      if (isEffects && isOk(response.status)) return await takeEffects(outgoing, bytes);
      return outcomeOf(response.status, bytes, outgoing);
    } catch (error) {
      return {
        kind: "retry",
        reason: `error returned from app channel while sending pub/sub event to app: ${textOf(error)}`,
      };
    } finally {
      group.leave(cancellation);
    }
  }

  async deliverBulk(outgoing: OutgoingBulk, signal: AbortSignal): Promise<Outcome[]> {
    const all = (outcome: Outcome): Outcome[] => outgoing.entries.map(() => outcome);
    try {
      const response = await this.#channel.http({
        method: "POST",
        target: requestTarget(outgoing.path),
        headers: ["Content-Type", "application/json", "pubsubName", outgoing.pubsubName],
        body: bulkBody(outgoing, this.#newId()),
        signal,
        timeoutMs: this.#timeoutMs,
      });
      return await this.#bulkOutcomes(outgoing, response, all);
    } catch (error) {
      return all({
        kind: "retry",
        reason: `error from app channel while sending pub/sub event to app: ${textOf(error)}`,
      });
    }
  }

  async #bulkOutcomes(
    outgoing: OutgoingBulk,
    response: AppHttpResponse,
    all: (outcome: Outcome) => Outcome[],
  ): Promise<Outcome[]> {
    const { status } = response;
    const bytes = await this.#inTime(Promise.resolve(response.body.bytes(answerBytesMax)));
    if (status >= 200 && status <= 299) return statusesOf(outgoing.entries, bytes);
    const what = `returned from app while processing bulk pub/sub event`;
    if (status === 404) {
      return all({
        kind: "drop",
        reason: `non-retriable error ${what}. status code returned: 404`,
        asked: false,
      });
    }
    const reason = `retriable error ${what}, topic: ${outgoing.topic}. status code returned: ${status}`;
    return all({ kind: "retry", reason, code: status });
  }

  #groupOf(signal: AbortSignal): CancellationGroup {
    let group = this.#groups.get(signal);
    if (group === undefined) {
      group = new CancellationGroup(signal);
      this.#groups.set(signal, group);
    }
    return group;
  }

  #headers(outgoing: OutgoingEvent): string[] {
    const headers = ["Content-Type", cloudEventType, "pubsubName", outgoing.pubsubName];
    metadataHeaders(headers, outgoing.metadata);
    const { baggage } = outgoing.event;
    if (baggage !== "") metadataHeaders(headers, { baggage });
    return headers;
  }

  /** The deadline of the head covers the head only: a body that never ends must not hold the message for ever. */
  async #inTime(body: Promise<Uint8Array>): Promise<Uint8Array> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("the app's answer did not end in time")), this.#timeoutMs);
    });
    try {
      return await Promise.race([body, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function isOk(status: number): boolean {
  return status >= 200 && status <= 299;
}

async function takeEffects({ effects, event }: OutgoingEvent, bytes: Uint8Array): Promise<Outcome> {
  if (effects !== undefined) return effects(bytes);
  const reason = `the app answered pub/sub event ${event.idForLog} with effects, but no Idempotency resource covers the subscription`;
  return { kind: "retry", reason };
}

function outcomeOf(status: number, bytes: Uint8Array, outgoing: OutgoingEvent): Outcome {
  if (status >= 200 && status <= 299) return bytes.length === 0 ? success : statedOutcome(bytes, outgoing);
  const id = outgoing.event.idForLog;
  const shown = Buffer.from(bytes.subarray(0, shownBytesMax)).toString("utf8");
  if (status === 404) {
    const reason = `non-retriable error returned from app while processing pub/sub event ${id}: ${shown}. status code returned: 404`;
    return { kind: "drop", reason, asked: false };
  }
  const reason = `retriable error returned from app while processing pub/sub event ${id}, topic: ${outgoing.topic}, body: ${shown}. status code returned: ${status}`;
  return { kind: "retry", reason, code: status };
}

/** Any 2xx whose body does not say otherwise is a success. */
function statedOutcome(bytes: Uint8Array, outgoing: OutgoingEvent): Outcome {
  const answer = jsonOf(bytes);
  if (typeof answer !== "object" || answer === null) return success;
  const status = fieldOf(answer, "status");
  if (typeof status !== "string" || status === "" || status === "SUCCESS") return success;
  const id = outgoing.event.idForLog;
  if (status === "RETRY") return retryAsked(id);
  if (status === "DROP") return droppedByApp(id);
  return unknownStatus(id, status);
}

/** Bulk answers are strict: an entry without a readable SUCCESS or DROP comes again. */
function statusesOf(entries: readonly BulkEntry[], bytes: Uint8Array): Outcome[] {
  const answer = jsonOf(bytes);
  const list = typeof answer === "object" && answer !== null ? fieldOf(answer, "statuses") : undefined;
  const statuses = new Map<unknown, unknown>();
  for (const one of Array.isArray(list) ? list : []) {
    if (typeof one === "object" && one !== null)
      statuses.set(fieldOf(one, "entryId"), fieldOf(one, "status"));
  }
  return entries.map(({ entryId }) => {
    const status = statuses.get(entryId);
    if (status === "SUCCESS") return success;
    if (status === "DROP") return droppedByApp(`for entry id: ${entryId}`);
    if (status === "RETRY" || status === "") return retryAsked(`for entry id: ${entryId}`);
    if (status !== undefined) return unknownStatus(`for entry id: ${entryId}`, status);
    const reason = `response not received, RETRY required while processing bulk subscribe event for entry id: ${entryId}`;
    return { kind: "retry", reason };
  });
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Go matches field names without case, and apps have come to rely on it. */
function fieldOf(value: object, name: string): unknown {
  const record = value as Record<string, unknown>;
  if (record[name] !== undefined) return record[name];
  const lower = name.toLowerCase();
  const key = Object.keys(record).find((candidate) => candidate.toLowerCase() === lower);
  return key === undefined ? undefined : record[key];
}

/** Put together as text: events go in as the JSON they are. */
function bulkBody(outgoing: OutgoingBulk, id: string): Uint8Array {
  const { pubsubName, topic, isRaw } = outgoing;
  const parts: Buffer[] = [Buffer.from(`{"id":${JSON.stringify(id)},"entries":[`)];
  outgoing.entries.forEach((entry, index) => {
    const event = Buffer.from(entry.bytes.buffer, entry.bytes.byteOffset, entry.bytes.byteLength);
    parts.push(Buffer.from(`${index === 0 ? "" : ","}{"entryId":${JSON.stringify(entry.entryId)},"event":`));
    parts.push(isRaw ? Buffer.from(`"${event.toString("base64")}"`) : event);
    const metadata = JSON.stringify(entry.metadata);
    parts.push(Buffer.from(`,"contentType":${JSON.stringify(entry.contentType)},"metadata":${metadata}}`));
  });
  const metadata = JSON.stringify({ pubsubName });
  parts.push(
    Buffer.from(
      `],"metadata":${metadata},"pubsubname":${JSON.stringify(pubsubName)},"topic":${JSON.stringify(topic)},"type":"com.dapr.event.sent.bulk"}`,
    ),
  );
  return Buffer.concat(parts);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
