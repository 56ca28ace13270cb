import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { formatTraceparent, parseTraceparent } from "../../telemetry/propagation.ts";
import {
  type ActivityRequest,
  ActivityRequestSchema,
  type ActivityResponse,
  ActivityResponseSchema,
  TraceContextSchema,
} from "../../wire/orchestrator_service_pb.js";
import type { Delivery } from "../store/store.ts";
import { StoreConflict } from "../store/store.ts";
import type { FreshResult } from "./at-once.ts";
import type { ActivityPolicy, EngineParts } from "./engine-parts.ts";
import { type EncodedEvent, failureDetails, makeEvent } from "./events.ts";
import { denial } from "./gate.ts";
import { type ActivityHeaders, callerOf, toInbox } from "./messages.ts";
import type { AppName } from "./names.ts";
import type { FailureRecord } from "./record.ts";
import { describeActivity } from "./spans.ts";
import { traceContext } from "./turn.ts";
import { activityItem } from "./work-item.ts";
import { activityKey, WorkerLost } from "./workers.ts";

const retryMs = 1_000;

const oneAttempt: ActivityPolicy = (_name, attempt) => attempt();

/** Runs activities: each claimed message goes to a worker; its result and the end of the claim are one commit. */
export class ActivityRunner {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async handle(deliveries: Delivery[]): Promise<void> {
    for (const delivery of deliveries) await this.#run(delivery);
  }

  async #run(delivery: Delivery): Promise<void> {
    const { store, telemetry, edges, meters } = this.#parts;
    const startedMs = edges.clock.monotonicMs();
    let name = "";
    try {
      const request = fromBinary(ActivityRequestSchema, delivery.data);
      name = request.name;
      const response = await this.#ask(delivery, request);
      await this.#commit(delivery, response);
      const tookMs = edges.clock.monotonicMs() - startedMs;
      meters.activity(name, response.failureDetails === undefined ? "success" : "failed", tookMs);
    } catch (error) {
      const isLost = error instanceof WorkerLost;
      if (error instanceof StoreConflict) return;
      if (!isLost)
        telemetry.log.warn({ error, activity: name }, "an activity failed to run and is tried again");
      meters.activity(name, "recoverable", edges.clock.monotonicMs() - startedMs);
      await store
        .nack(delivery, isLost ? error.retryMs : retryMs, { untried: isLost })
        .catch((cause) => telemetry.log.warn({ error: cause }, "an activity could not be given back"));
    }
  }

  async #ask(delivery: Delivery, request: ActivityRequest): Promise<ActivityResponse> {
    const { workers, places, gate, telemetry, messageBytesMax } = this.#parts;
    const headers = delivery.headers as Record<string, string> & ActivityHeaders;
    if (delivery.data.byteLength > messageBytesMax * 0.95) return tooLarge(request, delivery.data.byteLength);
    const asked = {
      kind: "activity" as const,
      operation: "schedule" as const,
      name: request.name,
      instanceId: headers.i,
    };
    if (!gate.admits(callerOf(headers), asked)) return failed(request, denial);
    const token = `${delivery.offset}.${delivery.claim}`;
    const parent = parseTraceparent(request.parentTraceContext?.traceParent);
    const span = telemetry.tracer.start(`activity||${request.name}`, "server", parent);
    describeActivity(span, request);
    const data = span.context.sampled ? withParent(request, formatTraceparent(span.context)) : delivery.data;
    try {
      const key = activityKey({ instanceId: headers.i, taskId: request.taskId });
      const work = () =>
        workers.runActivity(key, activityItem(data, token), () => this.#handedOver(request.name, delivery));
      const { activityPolicy = oneAttempt } = this.#parts;
      const options = {
        signal: undefined,
        refused: (errorMessage: string) => failed(request, { errorType: "POLICY", errorMessage }),
        isFailed: (result: ActivityResponse) => result.failureDetails?.isNonRetriable === false,
      };
      const response = await places.run("activity", request.name, () =>
        activityPolicy(request.name, work, options),
      );
      span.end(response.failureDetails && { code: 2, message: response.failureDetails.errorMessage });
      return response;
    } catch (error) {
      span.end({ code: 2, message: (error as Error).message });
      throw error;
    }
  }

  /** How long an activity waited for a worker to take it. */
  #handedOver(name: string, { publishedAtMs }: Delivery): void {
    const { meters, edges } = this.#parts;
    meters.activityOperation(name, Math.max(0, edges.clock.now() - publishedAtMs));
  }

  async #commit(delivery: Delivery, response: ActivityResponse): Promise<void> {
    const headers = delivery.headers as Record<string, string> & ActivityHeaders;
    const app = { appId: headers.a, namespace: headers.n };
    const { i: instanceId, x: executionId } = headers;
    const event = this.#event(headers.e, response);
    if (await this.#takenAtOnce(app, { instanceId, executionId, event, delivery })) return;
    const result = toInbox(app, instanceId, event.bytes, executionId);
    await this.#parts.commits.commit([{ kind: "ack", delivery }, result]);
  }

  /** Whether the next turn of the workflow has stored the result already. */
  async #takenAtOnce(app: AppName, result: FreshResult): Promise<boolean> {
    const { atOnce, app: own } = this.#parts;
    if (atOnce === undefined || app.appId !== own.appId || app.namespace !== own.namespace) return false;
    return atOnce.result(result);
  }

  #event(taskExecutionId: string, { taskId, result, failureDetails }: ActivityResponse): EncodedEvent {
    const nowMs = this.#parts.edges.clock.now();
    return failureDetails === undefined
      ? makeEvent(nowMs, {
          case: "taskCompleted",
          value: {
            taskScheduledId: taskId,
            taskExecutionId,
            ...(result === undefined ? {} : { result }),
          },
        })
      : makeEvent(nowMs, {
          case: "taskFailed",
          value: { taskScheduledId: taskId, taskExecutionId, failureDetails },
        });
  }
}

function withParent(request: ActivityRequest, traceParent: string): Uint8Array {
  const parentTraceContext = create(TraceContextSchema, traceContext(traceParent));
  return toBinary(ActivityRequestSchema, { ...request, parentTraceContext });
}

/** An activity that no worker can be sent has failed. */
function tooLarge(request: ActivityRequest, bytes: number): ActivityResponse {
  const errorMessage = `the input of the activity has ${bytes} bytes, more than a worker can be sent`;
  return failed(request, { errorType: "PAYLOAD_SIZE_EXCEEDED", errorMessage, isNonRetriable: true });
}

function failed({ workflowInstance, taskId }: ActivityRequest, why: FailureRecord): ActivityResponse {
  const instanceId = workflowInstance?.instanceId ?? "";
  return create(ActivityResponseSchema, { instanceId, taskId, failureDetails: failureDetails(why) });
}
