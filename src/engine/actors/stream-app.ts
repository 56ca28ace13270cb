import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../../errors.ts";
import type {
  SubscribeActorEventsRequestAlpha1,
  SubscribeActorEventsRequestFailedAlpha1,
  SubscribeActorEventsResponseAlpha1Schema,
} from "../../wire/actor_events_pb.js";
import type { ActorApp, MethodTurn, TurnContext } from "./app.ts";
import type { ActorAnswer, ActorRef, ActorTimer, Alarm } from "./engine.ts";

type Request = SubscribeActorEventsRequestAlpha1["requestType"];
type Response = MessageInitShape<typeof SubscribeActorEventsResponseAlpha1Schema>;
type Send = (response: Response) => Promise<void>;

const bytesType = "type.googleapis.com/google.protobuf.BytesValue";
const nothing = new Uint8Array(0);

/** The app could not do what it was asked over the stream. */
class RequestFailed extends Error {
  readonly code: number;
  constructor({ code, message }: SubscribeActorEventsRequestFailedAlpha1) {
    super(message);
    this.name = "RequestFailed";
    this.code = code;
  }
}

interface Waiting {
  resolve(answer: Request): void;
  reject(error: Error): void;
}

/** Actors behind a stream that their app opened (dapr-api.md §8.7): questions go out, answers come back by id. */
export class StreamActorApp implements ActorApp {
  readonly #send: Send;
  readonly #newId: () => string;
  readonly #waiting = new Map<string, Waiting>();
  readonly #ending = Promise.withResolvers<void>();
  #isEnded = false;

  constructor(send: Send, newId: () => string) {
    this.#send = send;
    this.#newId = newId;
  }

  /** What the app sent; answers that nobody waits for are let go. */
  arrived(request: Request): void {
    if (request.case === undefined || request.case === "initialRequest") return;
    const { id } = request.value;
    if (request.case === "requestFailed") this.#waiting.get(id)?.reject(new RequestFailed(request.value));
    else this.#waiting.get(id)?.resolve(request);
  }

  /** Resolves when no more questions will come. */
  get ended(): Promise<void> {
    return this.#ending.promise;
  }

  end(): void {
    this.#isEnded = true;
    this.#ending.resolve();
    for (const waiting of [...this.#waiting.values()])
      waiting.reject(new Error("the actor stream has ended"));
  }

  async invoke(actor: ActorRef, turn: MethodTurn, context: TurnContext): Promise<ActorAnswer> {
    const metadata = Object.fromEntries(turn.headers);
    if (context.reentrancyId !== undefined) metadata["Dapr-Reentrancy-Id"] = context.reentrancyId;
    const value = { ...fieldsOf(actor), method: turn.method, data: turn.body, metadata };
    try {
      const answer = await this.#ask(context.signal, (id) => ({
        case: "invokeRequest",
        value: { ...value, id },
      }));
      if (answer.case !== "invokeResponse") throw new Error(`unexpected answer ${answer.case}`);
      const { data, error, metadata: sent } = answer.value;
      const headers = Object.entries(sent).flat();
      // The status is 200 all the same: this header tells the caller.
      if (error) headers.push("X-Daprerrorresponseheader", "true");
      return { status: 200, headers, body: data, isActorError: error };
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error;
      const status = error.code === Code.NotFound ? 404 : 500;
      return { status, headers: [], body: Buffer.from(error.message), isActorError: false };
    }
  }

  async remind(reminder: Alarm, { signal }: TurnContext): Promise<{ cancels: boolean }> {
    const { name, dueTime, period } = reminder;
    const value = { ...fieldsOf(reminder), name, dueTime, period, ...dataOf(reminder) };
    try {
      const answer = await this.#ask(signal, (id) => ({ case: "reminderRequest", value: { ...value, id } }));
      return { cancels: answer.case === "reminderResponse" && answer.value.cancel };
    } catch (error) {
      // For good: it would not be found the next time either.
      if (error instanceof RequestFailed && error.code === Code.NotFound) return { cancels: true };
      throw error;
    }
  }

  async fireTimer(timer: ActorTimer, { signal }: TurnContext): Promise<void> {
    const { name, dueTime, period, callback } = timer;
    const value = { ...fieldsOf(timer), name, dueTime, period, callback, ...dataOf(timer) };
    await this.#ask(signal, (id) => ({ case: "timerRequest", value: { ...value, id } }));
  }

  async deactivate(actor: ActorRef, signal: AbortSignal): Promise<void> {
    await this.#ask(signal, (id) => ({ case: "deactivateRequest", value: { ...fieldsOf(actor), id } }));
  }

  #ask(signal: AbortSignal, make: (id: string) => NonNullable<Response["responseType"]>): Promise<Request> {
    if (this.#isEnded) return Promise.reject(new Error("the actor stream has ended"));
    const id = this.#newId();
    return new Promise<Request>((resolve, reject) => {
      const settle = (): void => {
        this.#waiting.delete(id);
        signal.removeEventListener("abort", aborted);
      };
      const waiting: Waiting = {
        resolve(answer) {
          settle();
          resolve(answer);
        },
        reject(error) {
          settle();
          reject(error);
        },
      };
      const aborted = (): void => waiting.reject(new Error("given up", { cause: signal.reason }));
      this.#waiting.set(id, waiting);
      signal.addEventListener("abort", aborted, { once: true });
      this.#send({ responseType: make(id) }).catch(waiting.reject);
    });
  }
}

function fieldsOf({ type, id }: ActorRef): { actorType: string; actorId: string } {
  return { actorType: type, actorId: id };
}

function dataOf({ data }: Alarm) {
  if (data === undefined) return {};
  const bytes = create(BytesValueSchema, { value: data === "" ? nothing : Buffer.from(data) });
  return { data: { typeUrl: bytesType, value: toBinary(BytesValueSchema, bytes) } };
}
