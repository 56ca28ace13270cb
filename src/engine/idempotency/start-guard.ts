import { errors, Fault } from "../../errors.ts";
import { StoreConflict } from "../store/store.ts";
import type { StartGuard } from "../workflow/start-guard.ts";
import { digest, jsonOf, recordKey } from "./key.ts";
import type { Policy } from "./policy.ts";
import type { Records } from "./records.ts";
import type { SpaceOf } from "./spaces.ts";

type Start = Parameters<StartGuard["start"]>;

/** Starts of one workflow: a key that was used gives the id of the instance that it started. */
export class WorkflowStartGuard implements StartGuard {
  readonly #policy: Policy;
  readonly #options: { records: Records; spaceOf: SpaceOf };

  constructor(policy: Policy, options: { records: Records; spaceOf: SpaceOf }) {
    this.#policy = policy;
    this.#options = options;
  }

  async start(request: Start[0], create: Start[1]): Promise<string> {
    const { records, spaceOf } = this.#options;
    const { spec, keyOf } = this.#policy;
    const { instanceId, name, input = "" } = request;
    const key = keyOf?.({ workflow: { name, instanceId, input: jsonOf(input) } });
    if (key === undefined) {
      await create(instanceId, false);
      return instanceId;
    }
    const claimed = await records.claim({
      space: spaceOf(spec.scope),
      key: recordKey([...(spec.scope === "target" ? ["workflow", name] : [spec.scope]), key]),
      print: spec.fingerprint === "none" ? "" : digest(name, input),
      windowMs: spec.windowMs,
      waitMs: spec.inFlight === "wait" ? spec.waitTimeoutMs : 0,
      note: instanceId,
    });
    if (claimed.kind === "other") throw errors.IDEMPOTENCY_KEY_REUSED();
    if (claimed.kind === "busy") throw errors.IDEMPOTENCY_IN_FLIGHT();
    if (claimed.kind === "done") return Buffer.from(claimed.body).toString("utf8");
    const { ticket } = claimed;
    const chosen = ticket.note ?? instanceId;
    try {
      await create(chosen, ticket.isTakenOver);
    } catch (error) {
      // Unless it was refused it may be stored: the next one with this key goes on with the same id.
      if (error instanceof Fault || error instanceof StoreConflict) await records.forget(ticket);
      else records.abandon(ticket);
      throw error;
    }
    // Whoever took the key over meanwhile goes on with the same id.
    await records.finish(ticket, {}, { body: Buffer.from(chosen) });
    return chosen;
  }
}
