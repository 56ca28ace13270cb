import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type PropagatedHistory,
  PropagatedHistorySchema,
  HistoryPropagationScope as Scope,
} from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { type AppName, propagatedSpace } from "./names.ts";

/** What an execution hands on of its own history, and how it is called. */
export interface Handing {
  scope: Scope;
  /** What it was handed itself. */
  received: PropagatedHistory | undefined;
  app: AppName;
  instanceId: string;
  name: string;
  events: Uint8Array[];
}

/** Its own events; with the scope of a lineage after those of its ancestors. */
export function handOn({ scope, received, app, instanceId, name, events }: Handing): PropagatedHistory {
  const ancestors = scope === Scope.LINEAGE ? (received?.chunks ?? []) : [];
  const own = { appId: app.appId, instanceId, workflowName: name, rawEvents: events };
  return create(PropagatedHistorySchema, { scope, chunks: [...ancestors, own] });
}

/** The history waits for its execution beside the start message, and stays until the execution has ended. */
export function keepPropagated(app: AppName, key: string, history: PropagatedHistory): Mutation {
  const value = toBinary(PropagatedHistorySchema, history);
  return { kind: "put", space: propagatedSpace(app), key, value };
}

export function dropPropagated(app: AppName, key: string): Mutation {
  return { kind: "delete", space: propagatedSpace(app), key };
}

export function propagatedKey(instanceId: string, executionId: string): string {
  return `${instanceId}|${executionId}`;
}

export function decodePropagated(bytes: Uint8Array): PropagatedHistory {
  return fromBinary(PropagatedHistorySchema, bytes);
}
