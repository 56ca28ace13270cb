import { Code, Fault } from "../../errors.ts";
import type { ActorMessage } from "../../peer/actor-link.ts";
import { type AppName, appText } from "../../peer/identity.ts";
import type { PeerCaller } from "../../peer/security.ts";
import type { ActorAnswer, ActorRef, Reminder } from "./engine.ts";

/** What is to be done in a turn, as it travels between hosts. */
export type Work =
  | { kind: "invoke"; method: string; headers: [string, string][] }
  | { kind: "remind"; reminder: Reminder };

export interface Order extends ActorRef {
  work: Work;
  /** Of `invoke`; empty otherwise. */
  body: Uint8Array;
  reentrancyId: string | undefined;
  /** How many hosts passed it on. */
  hops: number;
  /** Who asked the host that passed it on. */
  from?: PeerCaller | undefined;
}

export type Done = { kind: "answer"; answer: ActorAnswer } | { kind: "reminded"; cancels: boolean };

/** `again`: the actor is not to be had at that host; look for it anew. */
export type Result = Done | { kind: "again" };

/** Only another instance of the same app is believed when it says on whose behalf it passes something on. */
export function askerOf({ from }: Pick<Order, "from">, caller: PeerCaller, self: AppName): PeerCaller {
  return from !== undefined && appText(caller) === appText(self) ? from : caller;
}

const nothing = new Uint8Array(0);

export function encodeOrder({ body, ...fields }: Order): ActorMessage {
  return { text: JSON.stringify(fields), body };
}

export function decodeOrder({ text, body }: ActorMessage): Order {
  return { ...(JSON.parse(text) as Omit<Order, "body">), body };
}

export function encodeResult(result: Result): ActorMessage {
  if (result.kind !== "answer") return { text: JSON.stringify(result), body: nothing };
  const { body, ...answer } = result.answer;
  return { text: JSON.stringify({ kind: "answer", answer }), body };
}

/** Throws the fault when it is one. */
export function decodeResult({ text, body }: ActorMessage): Result {
  const result = JSON.parse(text) as Result | EncodedFault;
  if (result.kind === "fault") throw faultOf(result);
  if (result.kind !== "answer") return result;
  return { kind: "answer", answer: { ...result.answer, body } };
}

interface EncodedFault {
  kind: "fault";
  code: string;
  reason: string;
  http: number;
  grpc: number;
  message: string;
}

export function encodeFailure(error: unknown): ActorMessage {
  const { code, reason, http, grpc, message } = Fault.from(error);
  const fault: EncodedFault = { kind: "fault", code, reason, http, grpc, message };
  return { text: JSON.stringify(fault), body: nothing };
}

function faultOf({ code, reason, http, grpc, message }: EncodedFault): Fault {
  const known = Object.values(Code).find((each) => each === grpc) ?? Code.Internal;
  return new Fault({ code, reason, http, grpc: known }, message);
}
