import type { LocalTarget } from "../peer/local-targets.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { openAccessControl } from "./access-control.ts";
import { openAuthorization } from "./authorization.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AdmissionRequest {
  host: Pick<Host, "clock" | "httpClient">;
  options: RuntimeOptions;
  resources: RuntimeResources;
  telemetry: Telemetry;
}

/** The check of calls that come in for an app: all that may refuse one has to let it in. */
export function openAdmission(request: AdmissionRequest): NonNullable<LocalTarget["authorize"]> {
  const { host, options, resources, telemetry } = request;
  const { clock, httpClient } = host;
  const checkAccess = openAccessControl({ options, resources, metrics: telemetry.metrics });
  const principal = principalOf(options);
  const { appPort } = options;
  const admit = openAuthorization({ principal, appPort, resources, telemetry, clock, httpClient });
  return (call) => {
    checkAccess(call);
    return admit(call);
  };
}
