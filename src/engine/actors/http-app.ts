import type { AppChannel } from "../../app/channel.ts";
import type { RawHeaders } from "../../net/http1/types.ts";
import type { ActorApp, MethodTurn, TurnContext } from "./app.ts";
import { readActorConfig, type TypeConfig } from "./config.ts";
import type { ActorAnswer, ActorRef, ActorTimer, Alarm } from "./engine.ts";

const configBytesMax = 1 << 20;

/** The types an HTTP app hosts: GET /dapr/config. Any status but 200: none. Throws for an answer that can not be read. */
export async function discoverActors(
  channel: AppChannel,
  appId: string,
  signal: AbortSignal,
): Promise<Map<string, TypeConfig>> {
  const headers = ["dapr-app-id", appId];
  const response = await channel.http({ method: "GET", target: "/dapr/config", headers, signal });
  const bytes = await response.body.bytes(configBytesMax);
  if (response.status !== 200 || bytes.length === 0) return new Map();
  return readActorConfig(JSON.parse(Buffer.from(bytes).toString("utf8")));
}

/** Calls actors of an HTTP app (dapr-api.md §8.3–8.6). */
export class HttpActorApp implements ActorApp {
  readonly #channel: AppChannel;
  readonly #answerBytesMax: number;

  constructor(channel: AppChannel, answerBytesMax: number) {
    this.#channel = channel;
    this.#answerBytesMax = answerBytesMax;
  }

  async invoke(actor: ActorRef, turn: MethodTurn, context: TurnContext): Promise<ActorAnswer> {
    const target = `${pathOf(actor)}/method/${encodeURIComponent(turn.method)}`;
    return this.#put(target, linesOf(turn.headers), turn.body, context);
  }

  async remind(reminder: Alarm, context: TurnContext): Promise<{ cancels: boolean }> {
    const target = `${pathOf(reminder)}/method/remind/${encodeURIComponent(reminder.name)}`;
    const answer = await this.#fire(target, alarmBody(reminder, {}), context);
    return { cancels: isTrue(headerOf(answer.headers, "x-daprremindercancel")) };
  }

  async fireTimer(timer: ActorTimer, context: TurnContext): Promise<void> {
    const target = `${pathOf(timer)}/method/timer/${encodeURIComponent(timer.name)}`;
    await this.#fire(target, alarmBody(timer, { callback: timer.callback }), context);
  }

  async deactivate(actor: ActorRef, signal: AbortSignal): Promise<void> {
    const response = await this.#channel.http({
      method: "DELETE",
      target: pathOf(actor),
      headers: [],
      signal,
    });
    await response.body.bytes(this.#answerBytesMax);
    const { status } = response;
    if (status !== 404 && (status < 200 || status > 299)) throw new Error(`the app answered ${status}`);
  }

  async #fire(target: string, body: string, context: TurnContext): Promise<ActorAnswer> {
    const answer = await this.#put(target, ["Content-Type", "application/json"], body, context);
    if (answer.status < 200 || answer.status > 299 || answer.isActorError) {
      throw new Error(`error from actor service: (${answer.status}) ${shown(answer.body)}`);
    }
    return answer;
  }

  async #put(
    target: string,
    headers: RawHeaders,
    body: Uint8Array | string,
    { reentrancyId, trace, signal }: TurnContext,
  ): Promise<ActorAnswer> {
    if (reentrancyId !== undefined) headers.push("Dapr-Reentrancy-Id", reentrancyId);
    const response = await this.#channel.http({ method: "PUT", target, headers, body, trace, signal });
    return {
      status: response.status,
      headers: passedOn(response.rawHeaders),
      body: await response.body.bytes(this.#answerBytesMax),
      isActorError: isTrue(response.header("x-daprerrorresponseheader")),
    };
  }
}

function pathOf({ type, id }: ActorRef): string {
  return `/actors/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;
}

function linesOf(headers: readonly [string, string][]): RawHeaders {
  const lines: RawHeaders = [];
  for (const [name, value] of headers) lines.push(name, value);
  return lines;
}

/** Put together as text: the data goes in as the JSON it is. */
function alarmBody({ data, dueTime, period }: Alarm, extra: object): string {
  const fields = JSON.stringify({ ...extra, dueTime, period });
  return data === undefined ? fields : `${fields.slice(0, -1)},"data":${data}}`;
}

/** Of this connection or made anew for the next one. */
const ownHeaders = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "upgrade",
  "te",
  "trailer",
  "date",
]);

export function isPassedOn(lowerName: string): boolean {
  return !ownHeaders.has(lowerName);
}

/** Header lines that go on to another connection. */
export function passedOn(lines: RawHeaders): RawHeaders {
  const kept: RawHeaders = [];
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] ?? "";
    if (isPassedOn(name.toLowerCase())) kept.push(name, lines[i + 1] ?? "");
  }
  return kept;
}

export function headerOf(lines: RawHeaders, lowerName: string): string | undefined {
  for (let i = 0; i < lines.length; i += 2) if (lines[i]?.toLowerCase() === lowerName) return lines[i + 1];
  return undefined;
}

function isTrue(value: string | undefined): boolean {
  return value?.trim().toLowerCase() === "true";
}

export function shown(body: Uint8Array): string {
  return Buffer.from(body).toString("utf8");
}
