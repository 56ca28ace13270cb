import type { BindingEvent } from "../../component/binding.ts";
import type { BindingGuard } from "../bindings/guard.ts";
import { jsonOf, recordKey } from "./key.ts";
import type { Policy } from "./policy.ts";
import type { Records } from "./records.ts";
import type { SpaceOf } from "./spaces.ts";

export interface BindingGuardOptions {
  records: Records;
  spaceOf: SpaceOf;
  component: string;
}

/** Events of one input binding: a key that was handled is acknowledged without the app. */
export class InputBindingGuard implements BindingGuard {
  readonly #policy: Policy;
  readonly #options: BindingGuardOptions;

  constructor(policy: Policy, options: BindingGuardOptions) {
    this.#policy = policy;
    this.#options = options;
  }

  async deliver(
    { data, metadata }: BindingEvent,
    hand: () => Promise<Uint8Array | undefined>,
  ): Promise<Uint8Array | undefined> {
    const { records, spaceOf, component } = this.#options;
    const { spec, keyOf } = this.#policy;
    const key = keyOf?.({ event: { data: jsonOf(data), metadata } });
    if (key === undefined) return hand();
    const claimed = await records.claim({
      space: spaceOf(spec.scope),
      key: recordKey([...(spec.scope === "target" ? ["binding", component] : [spec.scope]), key]),
      print: "",
      windowMs: spec.windowMs,
      waitMs: spec.inFlight === "wait" ? spec.waitTimeoutMs : 0,
    });
    if (claimed.kind === "done" || claimed.kind === "other") return undefined;
    // A failure, so that the source brings it again.
    if (claimed.kind === "busy") throw new Error("an event with this key is still being handled");
    let answer: Uint8Array | undefined;
    try {
      answer = await hand();
    } catch (error) {
      await records.forget(claimed.ticket);
      throw error;
    }
    if (!(await records.finish(claimed.ticket, {}))) {
      throw new Error("the event was taken over by another runtime");
    }
    return answer;
  }
}
