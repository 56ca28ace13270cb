import type { CloudEvent } from "./cloud-event.ts";
import type { Route } from "./subscription.ts";

/** A rule that cannot be compiled, or not be decided for an event. */
export class InvalidRoute extends Error {
  constructor(expression: string, why: string, cause?: unknown) {
    super(`match expression ${expression}: ${why}`, { cause });
    this.name = "InvalidRoute";
  }
}

/** Chooses the path of an event. */
export interface Router {
  /** Whether choosing looks into the event. */
  readonly readsEvent: boolean;
  /** The path of the first rule that holds; `undefined` when none does. Throws when a rule cannot be evaluated. */
  pathFor(event: CloudEvent): string | undefined;
}

/** Compiles the rules once; the CEL implementation is loaded only when one of them has a condition. */
export async function createRouter(rules: readonly Route[]): Promise<Router> {
  const first = rules[0];
  if (first === undefined || first.match === "") {
    const path = first?.path;
    return { readsEvent: false, pathFor: () => path };
  }
  const { compileCondition } = await import("./cel-condition.ts");
  const compiled = rules.map((rule) => ({
    path: rule.path,
    holds: rule.match === "" ? () => true : compileCondition(rule.match),
  }));
  return {
    readsEvent: true,
    pathFor: (event) => compiled.find((rule) => rule.holds(event.attributes))?.path,
  };
}
