import type { AppScope } from "../api/call.ts";
import type { Gate } from "../policy/layer.ts";
import { createGate } from "../policy/limit.ts";

const gates = new WeakMap<AppScope, Gate>();

/** The one gate of an app, for its HTTP and gRPC calls together; `undefined` without a limit. */
export function gateOf(app: AppScope): Gate | undefined {
  const { apiLimit } = app.settings;
  if (apiLimit === undefined) return undefined;
  let gate = gates.get(app);
  if (gate === undefined) {
    gate = createGate(apiLimit.callsMax, apiLimit.queueMax);
    gates.set(app, gate);
  }
  return gate;
}
