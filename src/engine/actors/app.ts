import type { SpanContext } from "../../telemetry/telemetry.ts";
import type { ActorAnswer, ActorRef, ActorTimer, Alarm } from "./engine.ts";

/** What a turn asks of the app. */
export interface MethodTurn {
  method: string;
  headers: [name: string, value: string][];
  body: Uint8Array;
}

/** What goes along with every turn. */
export interface TurnContext {
  /** Present when reentrancy is on. */
  reentrancyId: string | undefined;
  trace: SpanContext | undefined;
  signal: AbortSignal;
}

/** How the code of actors is called: over HTTP, or on a stream that the app opened. */
export interface ActorApp {
  /** What the app answers, whatever the status. */
  invoke(actor: ActorRef, turn: MethodTurn, context: TurnContext): Promise<ActorAnswer>;
  /** Rejects when the app failed; `cancels`: the reminder is not wanted any more. */
  remind(reminder: Alarm, context: TurnContext): Promise<{ cancels: boolean }>;
  fireTimer(timer: ActorTimer, context: TurnContext): Promise<void>;
  deactivate(actor: ActorRef, signal: AbortSignal): Promise<void>;
  /** The runtime closes: a stream ends. */
  end?(): void;
}
