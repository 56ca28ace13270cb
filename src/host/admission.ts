import type { InboundCall, LocalTarget } from "../peer/local-targets.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { openAccessControl } from "./access-control.ts";
import { openAuthorization } from "./authorization.ts";
import type { Host } from "./host.ts";
import { limitInbound } from "./inbound-limits.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AdmissionRequest {
  host: Host;
  options: RuntimeOptions;
  resources: RuntimeResources;
  telemetry: Telemetry;
  /** Takes how to let go of connections. */
  closers: (() => Promise<void> | void)[];
}

/** The check of calls that come in for an app: all that may refuse one has to let it in. */
export function openAdmission(request: AdmissionRequest): NonNullable<LocalTarget["authorize"]> {
  const { host, options, resources, telemetry, closers } = request;
  const { clock, httpClient } = host;
  const checkAccess = openAccessControl({ options, resources, metrics: telemetry.metrics });
  const principal = principalOf(options);
  const { appPort } = options;
  const policies = openAuthorization({ principal, appPort, resources, telemetry, clock, httpClient });
  closers.push(() => policies.close());
  const admitted = (call: InboundCall) => {
    checkAccess(call);
    return policies.authorize(call);
  };
  return limitInbound(admitted, { host, principal, resources, telemetry, labels: options.labels });
}
