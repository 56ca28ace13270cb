import type { Log } from "../../telemetry/telemetry.ts";
import type { CloudEvent } from "../pubsub/cloud-event.ts";
import type { EventGuard, TakeEffects } from "../pubsub/guard.ts";
import { type Outcome, success } from "../pubsub/outcome.ts";
import type { Mutation } from "../store/store.ts";
import type { EffectInput } from "./effect-mutations.ts";
import { type Effects, parseEffects } from "./effects.ts";
import { digest, recordKey } from "./key.ts";
import type { Policy } from "./policy.ts";
import type { Claimed, Records, Ticket } from "./records.ts";
import type { SpaceOf } from "./spaces.ts";

export interface GuardOptions {
  records: Records;
  log: Log;
  spaceOf: SpaceOf;
  /** `<pubsub>/<topic>`: keys of one subscription are its own. */
  subscription: string;
  mutationsOf(effects: Effects, input: EffectInput): Mutation[];
}

/** Events to the app: each source and id once; a repetition is acknowledged without the app. */
export class SubscriptionGuard implements EventGuard {
  readonly #policy: Policy;
  readonly #options: GuardOptions;

  constructor(policy: Policy, options: GuardOptions) {
    this.#policy = policy;
    this.#options = options;
  }

  async deliver(event: CloudEvent, hand: (effects: TakeEffects) => Promise<Outcome>): Promise<Outcome> {
    const claimed = await this.#claim(event);
    if (claimed === undefined) return hand((body) => this.#applyUnkeyed(body, event));
    if (claimed.kind !== "mine") return this.#known(claimed, event);
    const { ticket } = claimed;
    let isFinished = false;
    try {
      const outcome = await hand(async (body) => {
        const applied = await this.#apply(body, ticket, event);
        isFinished = applied.kind === "success";
        return applied;
      });
      if (isFinished) return outcome;
      return await this.#settle(ticket, outcome, event);
    } catch (error) {
      if (!isFinished) await this.#options.records.forget(ticket);
      throw error;
    }
  }

  async deliverBulk<E extends { event: CloudEvent }>(
    entries: readonly E[],
    hand: (entries: E[]) => Promise<Outcome[]>,
  ): Promise<Outcome[]> {
    // A key twice in one bulk: the second one waits for nobody and comes again.
    const claims = await Promise.all(entries.map(({ event }) => this.#claim(event, 0)));
    const isNew = (index: number): boolean => claims[index] === undefined || claims[index].kind === "mine";
    const fresh = entries.filter((_, index) => isNew(index));
    try {
      const handed = fresh.length === 0 ? [] : await hand(fresh);
      const outcomes = new Map(fresh.map((entry, index) => [entry, handed[index] ?? success]));
      return await Promise.all(
        entries.map((entry, index) => {
          const claimed = claims[index];
          const outcome = outcomes.get(entry) ?? success;
          if (claimed === undefined) return outcome;
          if (claimed.kind !== "mine") return this.#known(claimed, entry.event);
          return this.#settle(claimed.ticket, outcome, entry.event);
        }),
      );
    } catch (error) {
      const mine = claims.flatMap((claimed) => (claimed?.kind === "mine" ? [claimed.ticket] : []));
      await Promise.all(mine.map((ticket) => this.#options.records.forget(ticket)));
      throw error;
    }
  }

  /** `undefined`: the event has no key. */
  async #claim(event: CloudEvent, waitMs?: number): Promise<Claimed | undefined> {
    const { spec, keyOf } = this.#policy;
    const key =
      keyOf === undefined
        ? JSON.stringify([event.text("source"), event.text("id")])
        : keyOf({ event: event.attributes });
    if (key === undefined) {
      this.#options.log.warn({}, `event ${event.idForLog} has no key of Idempotency ${this.#policy.name}`);
      return undefined;
    }
    const { scope } = spec;
    const owner = scope === "target" ? ["event", this.#options.subscription] : [scope];
    return this.#options.records.claim({
      space: this.#options.spaceOf(scope),
      key: recordKey([...owner, key]),
      // Redeliveries of one event may differ in their bytes.
      print: "",
      windowMs: spec.windowMs,
      waitMs: waitMs ?? (spec.inFlight === "wait" ? spec.waitTimeoutMs : 0),
    });
  }

  #known(claimed: Exclude<Claimed, { kind: "mine" }>, event: CloudEvent): Outcome {
    const id = event.idForLog;
    if (claimed.kind === "busy") return { kind: "retry", reason: `event ${id} is still being handled` };
    this.#options.log.debug({ id }, "an event that was handled before is acknowledged");
    return success;
  }

  /** Only a success uses the key up: what failed comes again, or goes to the dead letters as it is. */
  async #settle(ticket: Ticket, outcome: Outcome, event: CloudEvent): Promise<Outcome> {
    const { records } = this.#options;
    if (outcome.kind !== "success") {
      await records.forget(ticket);
      return outcome;
    }
    return (await records.finish(ticket, {})) ? outcome : takenOver(event);
  }

  async #apply(body: Uint8Array, ticket: Ticket, event: CloudEvent): Promise<Outcome> {
    try {
      const effects = this.#mutations(body, `${ticket.space}/${ticket.key}`, event);
      return (await this.#options.records.finish(ticket, {}, { effects })) ? success : takenOver(event);
    } catch (error) {
      return notApplied(event, error);
    }
  }

  /** An event without a key has at least its own bytes to name its effects. */
  async #applyUnkeyed(body: Uint8Array, event: CloudEvent): Promise<Outcome> {
    const { records, spaceOf } = this.#options;
    const { windowMs } = this.#policy.spec;
    const key = recordKey(["bytes", this.#options.subscription, digest(event.bytes)]);
    const claimed = await records.claim({ space: spaceOf("target"), key, print: "", windowMs, waitMs: 0 });
    if (claimed.kind !== "mine") return this.#known(claimed, event);
    const applied = await this.#apply(body, claimed.ticket, event);
    if (applied.kind !== "success") await records.forget(claimed.ticket);
    return applied;
  }

  #mutations(body: Uint8Array, name: string, event: CloudEvent): Mutation[] {
    const input = { name, atomicWith: this.#policy.spec.atomicWith, trace: event.trace };
    return this.#options.mutationsOf(parseEffects(body), input);
  }
}

function takenOver(event: CloudEvent): Outcome {
  return { kind: "retry", reason: `event ${event.idForLog} was taken over by another runtime` };
}

function notApplied(event: CloudEvent, error: unknown): Outcome {
  const why = error instanceof Error ? error.message : String(error);
  return { kind: "retry", reason: `the effects of event ${event.idForLog} can not be applied: ${why}` };
}
