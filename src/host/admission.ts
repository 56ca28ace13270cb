import type { Clock } from "../edges/clock.ts";
import type { LocalTarget } from "../peer/local-targets.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { openAccessControl } from "./access-control.ts";
import { openAuthorization } from "./authorization.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AdmissionRequest {
  clock: Clock;
  options: RuntimeOptions;
  resources: RuntimeResources;
  telemetry: Telemetry;
}

/** The check of calls that come in for an app: all that may refuse one has to let it in. */
export function openAdmission(request: AdmissionRequest): NonNullable<LocalTarget["authorize"]> {
  const { options, resources, telemetry, clock } = request;
  const checkAccess = openAccessControl({ options, resources, metrics: telemetry.metrics });
  const principal = principalOf(options);
  const admit = openAuthorization({ principal, appPort: options.appPort, resources, telemetry, clock });
  return (call) => {
    checkAccess(call);
    return admit(call);
  };
}
