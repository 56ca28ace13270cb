import type { RawHeaders } from "../../net/http1/types.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import type { FailurePolicy } from "../jobs/plan.ts";
import type { ActorApp } from "./app.ts";
import type { TypeConfig } from "./config.ts";

/** One actor: the unit of turns and of state. */
export interface ActorRef {
  type: string;
  id: string;
}

/** A call of an actor's method, from whoever. */
export interface ActorCall extends ActorRef {
  method: string;
  /** Headers that travel to the app. */
  headers: [name: string, value: string][];
  body: Uint8Array;
  /** Of the chain of calls this one belongs to. */
  reentrancyId?: string | undefined;
  trace: SpanContext | undefined;
  signal: AbortSignal;
}

export interface ActorAnswer {
  status: number;
  headers: RawHeaders;
  body: Uint8Array;
  /** The app says that this is an error of its actor: it goes to the caller as it is. */
  isActorError: boolean;
}

/** What timers and reminders have in common: the texts as they were given. */
export interface Alarm extends ActorRef {
  name: string;
  dueTime: string;
  period: string;
  ttl: string;
  /** JSON text; `undefined`: none. */
  data: string | undefined;
}

export interface ActorTimer extends Alarm {
  callback: string;
}

export interface Reminder extends Alarm {
  failurePolicy?: FailurePolicy | undefined;
}

/** Ownership as the store checks it: a commit with it fails once another host may own the actor. */
export interface Fence {
  lease: string;
  token: number;
}

export interface ActorsStatus {
  status: "disabled" | "initializing" | "running";
  activeActors: { type: string; count: number }[];
  isHostReady: boolean;
  placement: string;
}

/** The actors of one app and its way to those of others. Throws Faults of the ACTOR_* rows. */
export interface ActorsEngine {
  invoke(call: ActorCall): Promise<ActorAnswer>;
  /** For state calls: the actor is active in this runtime. Throws when it is not. */
  fence(actor: ActorRef): Fence;
  /** Whether the store still says so; for state stores that can not check it themselves. */
  isHeld(fence: Fence): Promise<boolean>;
  setTimer(timer: ActorTimer): Promise<void>;
  deleteTimer(actor: ActorRef, name: string): Promise<void>;
  setReminder(reminder: Reminder, options: { overwrite: boolean }): Promise<void>;
  getReminder(actor: ActorRef, name: string): Promise<Reminder>;
  deleteReminder(actor: ActorRef, name: string): Promise<void>;
  /** Of one actor, or of all actors of the type. */
  listReminders(type: string, id: string | undefined): Promise<Reminder[]>;
  deleteReminders(type: string, id: string | undefined): Promise<void>;
  status(): ActorsStatus;
  /**
   * Hosts the types behind a stream of the app, in place of an earlier one, until the answer is called: then its
   * actors are gone.
   */
  attach(types: ReadonlyMap<string, TypeConfig>, app: ActorApp): Promise<() => Promise<void>>;
  /** Asks the app for its actor types and begins to host them; the app is reachable. */
  start(): Promise<void>;
  /** Withdraws from hosting: running turns end, actors are deactivated. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  close(): Promise<void>;
}
