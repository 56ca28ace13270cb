import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import type { InboundCall } from "../peer/local-targets.ts";
import { AccessList } from "../policy/access-control.ts";
import type { Configuration } from "../resource/resource.ts";
import type { Metrics } from "../telemetry/telemetry.ts";
import type { RuntimeOptions } from "./options.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AccessControlRequest {
  options: Pick<RuntimeOptions, "appProtocol" | "isStrict">;
  resources: Pick<RuntimeResources, "configuration" | "onConfiguration">;
  metrics: Metrics;
}

/** The check of calls that come in for an app; follows its Configuration. */
export function openAccessControl(request: AccessControlRequest): (call: InboundCall) => void {
  const { options, resources, metrics } = request;
  const protocol = options.appProtocol.startsWith("grpc") ? "grpc" : "http";
  const listOf = ({ accessControl }: Configuration): AccessList | undefined =>
    accessControl && new AccessList(accessControl, protocol);
  let list = listOf(resources.configuration);
  resources.onConfiguration((configuration) => {
    list = listOf(configuration);
  });
  return (call) => {
    if (list === undefined || call.isSelf) return;
    const { caller: name, trustDomain, operation, verb, isProven = false } = call;
    // Only mTLS names a caller in Dapr; mecha's peers without it show each other a token.
    const caller = options.isStrict && !isProven ? undefined : { ...name, trustDomain };
    const { isAllowed, decidedBy } = list.judge({ caller, operation, verb });
    const verdict = isAllowed ? "allowed" : "blocked";
    const labels = { app_id: name.appId, trustDomain, namespace: name.namespace };
    metrics.counter(`runtime_acl_${decidedBy}_policy_action_${verdict}_total`, labels).add();
    if (!isAllowed) throw new GrpcError(Code.PermissionDenied, denial(call));
  };
}

function denial({ caller, operation, verb }: InboundCall): string {
  return `access control policy has denied access to appid: ${caller.appId} operation: ${operation} verb: ${verb || "NONE"}`;
}
