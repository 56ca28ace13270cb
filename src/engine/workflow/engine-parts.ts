import type { Edges } from "../../edges/edges.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { Store } from "../store/store.ts";
import type { AtOnce } from "./at-once.ts";
import type { Changes } from "./changes.ts";
import type { Commits } from "./commits.ts";
import type { Gate } from "./gate.ts";
import type { InstanceHome } from "./home.ts";
import type { WorkflowMeters } from "./meters.ts";
import type { AppName } from "./names.ts";
import type { Places } from "./places.ts";
import type { WorkflowSpans } from "./spans.ts";
import type { Stalls } from "./stalls.ts";
import type { StartGuardOf } from "./start-guard.ts";
import type { Workers } from "./workers.ts";

/** Limits of the app's Configuration (`spec.workflow`); read anew where they matter. */
export interface WorkflowLimits {
  /** At once in one runtime. */
  workflowsMax?: number | undefined;
  activitiesMax?: number | undefined;
  /** At once in all runtimes of the app together. */
  sharedWorkflowsMax?: number | undefined;
  sharedActivitiesMax?: number | undefined;
  /** The same by the name of the workflow or activity. */
  workflowMax?: ReadonlyMap<string, number>;
  activityMax?: ReadonlyMap<string, number>;
  /** How long finished instances are kept, by status. Absent: for ever. */
  retentionMs?:
    | { anyTerminal?: number; completed?: number; failed?: number; terminated?: number }
    | undefined;
}

/** Policies round a step that a worker does. */
export type ActivityPolicy = <T>(
  name: string,
  attempt: () => Promise<T>,
  /** What stands for a step that a policy has refused. */
  options: { signal: AbortSignal | undefined; refused(why: string): T; isFailed(result: T): boolean },
) => Promise<T>;

/** What the parts of one app's workflow engine share. */
export interface EngineParts {
  app: AppName;
  store: Store;
  edges: Edges;
  telemetry: Telemetry;
  commits: Commits;
  home: InstanceHome;
  changes: Changes;
  /** Absent where a turn and its events have no common commit. */
  atOnce?: AtOnce | undefined;
  workers: Workers;
  places: Places;
  gate: Gate;
  guardOf?: StartGuardOf | undefined;
  activityPolicy?: ActivityPolicy | undefined;
  stalls: Stalls;
  meters: WorkflowMeters;
  spans: WorkflowSpans;
  /** Largest message that a worker can be sent. */
  messageBytesMax: number;
  limits(): WorkflowLimits;
}
