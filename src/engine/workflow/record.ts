import { OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";

/** What is known of an instance without its history. Times are milliseconds since the epoch. */
export interface InstanceRecord {
  name: string;
  version?: string;
  status: OrchestrationStatus;
  /** New at each start, also at continue-as-new: what belongs to an earlier execution is recognised by it. */
  executionId: string;
  createdMs: number;
  updatedMs: number;
  startedMs?: number;
  completedMs?: number;
  scheduledMs?: number;
  customStatus?: string;
  output?: string;
  failure?: FailureRecord;
  parent?: ParentRecord;
  /** Its parent handed it a history, which each of its turns is shown. */
  propagated?: true;
  tags?: Record<string, string>;
  /** The context that its steps are children of. */
  traceParent?: string;
  /** When its trace is recorded: whose child its own span is, and when that began. */
  trace?: { origin: string; sinceMs: number };
  /** Why it stands still, until a turn succeeds. */
  stalled?: string;
  home?: HomeMark;
}

/** Present when the history is in a state store of the user's: how far this record has followed it. */
export interface HomeMark {
  /** The component's name. */
  store: string;
  /** The last turn saved there whose consequences are in the engine's store. */
  turn: string;
  /** Offsets of messages that saved turns have handled and that nobody has acknowledged yet. */
  unacked?: number[];
}

export interface FailureRecord {
  errorType: string;
  errorMessage: string;
  stackTrace?: string;
  isNonRetriable?: boolean;
  inner?: FailureRecord;
}

export interface ParentRecord {
  instanceId: string;
  executionId: string;
  name: string;
  taskId: number;
  appId: string;
  namespace: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeRecord(record: InstanceRecord): Uint8Array {
  return encoder.encode(JSON.stringify(record));
}

export function decodeRecord(bytes: Uint8Array): InstanceRecord {
  return JSON.parse(decoder.decode(bytes)) as InstanceRecord;
}

export function isTerminal(status: OrchestrationStatus): boolean {
  switch (status) {
    case OrchestrationStatus.COMPLETED:
    case OrchestrationStatus.FAILED:
    case OrchestrationStatus.CANCELED:
    case OrchestrationStatus.TERMINATED:
      return true;
    default:
      return false;
  }
}
