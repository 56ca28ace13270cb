import { RefusedCall } from "../peer/failure.ts";
import type { Admission, InboundCall, LocalTarget } from "../peer/local-targets.ts";
import { versionLabel } from "../peer/subset.ts";
import { limitLines, limitText } from "../policy/rate-limit/answer.ts";
import type { Verdict } from "../policy/rate-limit/limiter.ts";
import { openTargetPolicies, type TargetPolicy } from "../policy/rate-limit/policy.ts";
import type { RateLimitResource, RateLimitTarget } from "../resource/rate-limit.ts";
import { type UsePoliciesRequest, useContextOf } from "./use-policies.ts";

type Authorize = NonNullable<LocalTarget["authorize"]>;

export interface InboundLimitsRequest extends UsePoliciesRequest {
  /** Of the own instance. */
  labels: Readonly<Record<string, string>>;
}

/** The RateLimit resources of calls that come in for an app; a call counts when `admitted` has let it in. */
export function limitInbound(admitted: Authorize, request: InboundLimitsRequest): Authorize {
  const context = useContextOf(request);
  const { principal, resources, labels } = request;
  const own = { App: principal.appId, AppVersion: `${principal.appId}-${labels[versionLabel]}` };
  const isHere = ({ kind, direction, name }: RateLimitTarget): boolean =>
    (kind === "App" || kind === "AppVersion") && direction === "inbound" && name === own[kind];
  const open = (): TargetPolicy[] => {
    const limits = resources.policies.filter(({ kind }) => kind === "RateLimit");
    return openTargetPolicies(limits as readonly RateLimitResource[], context, isHere);
  };
  let policies = open();
  resources.onPolicies(() => {
    policies = open();
  });
  return (call) => {
    const admission = admitted(call);
    if (policies.length === 0 || call.isSelf) return admission;
    return admission instanceof Promise
      ? admission.then((changes) => passed(policies, call, changes))
      : passed(policies, call, admission);
  };
}

function passed(
  policies: readonly TargetPolicy[],
  call: InboundCall,
  changes: Admission,
): Admission | Promise<Admission> {
  const passing = passAll(policies, call);
  return passing === undefined ? changes : passing.then(() => changes);
}

function passAll(policies: readonly TargetPolicy[], call: InboundCall): undefined | Promise<void> {
  const { caller, operation, verb } = call;
  const asked = {
    sourceApp: caller.appId,
    sourceNamespace: caller.namespace,
    method: verb,
    path: operation,
    operation: verb,
    header: (lowerName: string) => call.header(lowerName),
    count: 1,
  };
  const step = (index: number): undefined | Promise<void> => {
    for (let at = index; at < policies.length; at++) {
      const policy = policies[at] as TargetPolicy;
      const admitted = policy.admit(asked);
      if (admitted instanceof Promise) {
        return admitted.then((verdict) => {
          check(policy, verdict);
          return step(at + 1);
        });
      }
      check(policy, admitted);
    }
  };
  return step(0);
}

function check({ resource }: TargetPolicy, verdict: Verdict): void {
  if (verdict.isAllowed) return;
  const { onLimit } = resource.spec;
  const headers = limitLines(verdict, onLimit);
  throw new RefusedCall(limitText(resource.name, verdict), { http: onLimit.status, headers });
}
