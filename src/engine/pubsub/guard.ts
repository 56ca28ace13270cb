import type { CloudEvent } from "./cloud-event.ts";
import type { Outcome } from "./outcome.ts";
import type { Subscription } from "./subscription.ts";

/** What an app may answer an event with: the changes it wants, committed with the record of the event. */
export type TakeEffects = (body: Uint8Array) => Promise<Outcome>;

/** Stands before the app: an event that it knows is acknowledged without the app. */
export interface EventGuard {
  /** Hands the event on when it is new. */
  deliver(event: CloudEvent, hand: (effects: TakeEffects) => Promise<Outcome>): Promise<Outcome>;
  /** The same for a bulk: hands on those that are new. Outcomes in the order of the entries. */
  deliverBulk<E extends { event: CloudEvent }>(
    entries: readonly E[],
    hand: (entries: E[]) => Promise<Outcome[]>,
  ): Promise<Outcome[]>;
}

export type GuardOf = (subscription: Subscription) => EventGuard | undefined;
