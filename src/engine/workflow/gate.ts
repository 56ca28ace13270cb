import type { WorkflowAccess, WorkflowAccessRequest } from "../../policy/workflow-access.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { HistoryEvent } from "../../wire/orchestrator_service_pb.js";
import { type AppName, isSameApp } from "./names.ts";
import type { FailureRecord } from "./record.ts";

/** How Dapr words it to the caller, who learns nothing more. */
export const denial: FailureRecord = {
  errorType: "WorkflowAccessPolicyDenied",
  errorMessage: "access denied by workflow access policy",
};

/** What another app asks of a workflow or activity of this one. */
export interface OutsideRequest extends Omit<WorkflowAccessRequest, "caller"> {
  instanceId: string;
}

/** What policies of mecha's own say of other apps, beside those of Dapr. */
export type WorkflowAuthorization = (caller: AppName, request: OutsideRequest) => boolean;

/** What other apps ask of this one passes here. Its own calls do not. */
export class Gate {
  readonly #app: AppName;
  readonly #telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly #access: () => WorkflowAccess | undefined;
  readonly #authorize: WorkflowAuthorization;

  constructor(
    app: AppName,
    telemetry: Pick<Telemetry, "log" | "metrics">,
    policies: { access(): WorkflowAccess | undefined; authorize?: WorkflowAuthorization | undefined },
  ) {
    this.#app = app;
    this.#telemetry = telemetry;
    this.#access = policies.access;
    this.#authorize = policies.authorize ?? (() => true);
  }

  /** `caller`: the app whose runtime wrote the message; `undefined` is the own one. */
  admits(caller: AppName | undefined, request: OutsideRequest): boolean {
    if (caller === undefined) return true;
    if (isSameApp(caller, this.#app)) return true;
    return this.#isAccessible(caller, request) && this.#authorize(caller, request);
  }

  #isAccessible(caller: AppName, request: OutsideRequest): boolean {
    const access = this.#access();
    if (access === undefined) return true;
    const { appId, namespace } = this.#app;
    const isNear = isSameApp({ ...caller, appId }, { appId, namespace });
    const isAllowed = isNear && access.allows({ ...request, caller: caller.appId });
    const { kind: type, operation, name } = request;
    const verdict = isAllowed ? "allowed" : "denied";
    const labels = { app_id: appId, src_app_id: caller.appId, operation, type };
    this.#telemetry.metrics.counter(`runtime_workflow_acl_action_${verdict}_total`, labels).add();
    if (!isAllowed) {
      const fields = { caller: caller.appId, operation, name };
      this.#telemetry.log.warn(
        fields,
        `a workflow access policy denied ${caller.appId} to ${operation} ${type} ${name}`,
      );
    }
    return isAllowed;
  }
}

/** What an event of another app asks for. Results are no request: only those that are waited for are taken. */
export function operationOf({ eventType }: HistoryEvent): WorkflowAccessRequest["operation"] | undefined {
  switch (eventType.case) {
    case "executionStarted":
      return "schedule";
    case "executionTerminated":
      return "terminate";
    case "executionSuspended":
      return "pause";
    case "executionResumed":
      return "resume";
    case "eventRaised":
      return "raise";
    default:
      return undefined;
  }
}
