/** Where something stands in a file; 1-based. */
export interface SourcePosition {
  file: string;
  line: number;
  column: number;
}

/** One document of a YAML file, checked against its kind. */
export interface Resource<K extends string = string, S = unknown> {
  apiVersion: string;
  kind: K;
  name: string;
  namespace: string;
  /** App ids that see it; empty: all. */
  scopes: string[];
  spec: S;
  source: SourcePosition;
  /** Finds the position of a field for error messages: `at("spec", "metadata", 0, "value")`. */
  at(...path: (string | number)[]): SourcePosition;
  /** `auth.secretStore` of components and endpoints. */
  secretStore?: string | undefined;
  /** `metadata.creationTimestamp`: of two that are at odds the older one counts. */
  createdAtMs?: number | undefined;
}

export interface MetadataItem {
  name: string;
  value?: string | number | boolean | object | null;
  secretKeyRef?: { name: string; key?: string };
  envRef?: string;
}

export interface ComponentSpec {
  type: string;
  version: string;
  ignoreErrors?: boolean;
  /** Milliseconds; 5 s by default. */
  initTimeoutMs?: number;
  metadata: MetadataItem[];
}

export interface SubscriptionSpec {
  pubsubname: string;
  topic: string;
  rules: { match: string; path: string }[];
  /** Empty: no default route. */
  defaultPath: string;
  metadata: Record<string, string>;
  deadLetterTopic: string;
  bulkSubscribe: { enabled: boolean; maxMessagesCount: number; maxAwaitDurationMs: number } | undefined;
}

export interface HttpEndpointSpec {
  baseUrl: string;
  headers: MetadataItem[];
  clientTLS?: {
    rootCA?: MetadataItem;
    certificate?: MetadataItem;
    privateKey?: MetadataItem;
  };
}

/** What a key makes happen once. */
export interface IdempotencyTarget {
  kind: "App" | "Subscription" | "Workflow" | "Component";
  /**
   * Of a Subscription: its resource's name, or `<pubsub>/<topic>` for one that the app asked for itself. Of a Workflow:
   * what starts name. Of a Component: an input binding.
   */
  name: string;
}

export interface IdempotencySpec {
  targets: IdempotencyTarget[];
  /** CEL over `request`, `event` or `workflow`; absent: the header `Idempotency-Key`, or source and id of the event. */
  key: string[] | undefined;
  scope: "target" | "app" | "global";
  /** How long a record is kept. */
  windowMs: number;
  /** Absent: replay for calls, skip for events. */
  mode: "replay" | "skip" | undefined;
  inFlight: "wait" | "reject";
  waitTimeoutMs: number;
  onFailure: "forget" | "remember";
  failureStatus: { from: number; to: number }[];
  fingerprint: "body" | "none";
  /** The state component of effects that name none. */
  atomicWith: string;
  storedBodyBytesMax: number;
}

/** Where something is sent: the short form of mecha's one address space, taken apart. */
export type Destination =
  | { kind: "app"; id: string; path: string; method: string; headers: Record<string, string> }
  | { kind: "topic"; pubsub: string; topic: string; metadata: Record<string, string> };

export interface DeliverySpec {
  /** Tries after the first. */
  retry: number;
  backoffPolicy: "linear" | "exponential";
  backoffDelayMs: number;
  maxDelayMs: number;
  timeoutMs: number;
  deadLetterSink?: Destination | undefined;
}

/** Exactly one of `schedule`, `everyMs`, `afterMs` and `atMs`. */
export interface ScheduleSpec {
  /** Cron of six fields or a macro, with its time zone before it. */
  schedule?: string | undefined;
  everyMs?: number | undefined;
  /** From the end of one run to the next. */
  afterMs?: number | undefined;
  atMs?: number | undefined;
  data?: { text: string; isBase64: boolean } | undefined;
  contentType: string;
  to: Destination;
  delivery: DeliverySpec;
  concurrencyPolicy: "Allow" | "Forbid";
  catchUp: { kind: "none" } | { kind: "last" } | { kind: "all"; limit: number };
  startingDeadlineMs?: number | undefined;
  suspend: boolean;
  repeats?: number | undefined;
  ttlMs?: number | undefined;
  /** The group whose leader runs it; `true`: one of its own. */
  singleton: string | boolean;
}

export interface SingletonSpec {
  group: string;
  /** App ids that may campaign; empty: all that see the resource. */
  members: string[];
  leaseDurationMs: number;
  renewDeadlineMs: number;
  retryPeriodMs: number;
  onAcquire?: Destination | undefined;
  onLose?: Destination | undefined;
}

export const workflowOperations = [
  "schedule",
  "terminate",
  "raise",
  "pause",
  "resume",
  "purge",
  "get",
  "rerun",
] as const;
export type WorkflowOperation = (typeof workflowOperations)[number];

export interface WorkflowAccessRule {
  /** App ids. */
  callers: string[];
  workflows: { name: RegExp; operations: WorkflowOperation[] }[];
  /** Names of activities that may be scheduled. */
  activities: RegExp[];
}

export interface WorkflowAccessPolicySpec {
  rules: WorkflowAccessRule[];
}

export type WorkflowAccessPolicyResource = Resource<"WorkflowAccessPolicy", WorkflowAccessPolicySpec>;
export type ScheduleResource = Resource<"Schedule", ScheduleSpec>;
export type SingletonResource = Resource<"Singleton", SingletonSpec>;
export type ComponentResource = Resource<"Component", ComponentSpec>;
export type SubscriptionResource = Resource<"Subscription", SubscriptionSpec>;
export type HttpEndpointResource = Resource<"HTTPEndpoint", HttpEndpointSpec>;
export type IdempotencyResource = Resource<"Idempotency", IdempotencySpec>;
export type ResiliencyResource = Resource<"Resiliency", Record<string, unknown>>;

/** The merged Configuration of an app (dapr-api.md §14), with defaults filled in. */
export interface NameResolution {
  /** `sqlite` is the component `nameresolution.sqlite`. */
  component: string;
  version: string;
  items: MetadataItem[];
}

export interface Configuration {
  mtls?: {
    /** Absent: on when the store is shared by machines. */
    mode?: "strict" | "permissive" | "off";
    certificateLifeMs?: number;
    clockSkewMs?: number;
  };
  tracing: {
    samplingRate: number;
    /** The rate stands in a file: environment variables do not change it. */
    isRateGiven?: true;
    stdout: boolean;
    zipkin?: { endpointAddress: string };
    otel?: {
      endpointAddress: string;
      isSecure: boolean;
      protocol: "http" | "grpc";
      headers: Record<string, string>;
      timeoutMs: number;
    };
  };
  metrics: {
    enabled: boolean;
    recordErrorCodes: boolean;
    http: { increasedCardinality: boolean; pathMatching: string[]; excludeVerbs: boolean };
    latencyDistributionBuckets: number[];
    rules: { name: string; labels: { name: string; regex: Record<string, string> }[] }[];
  };
  secrets: {
    scopes: {
      storeName: string;
      defaultAccess: "allow" | "deny";
      allowedSecrets: string[];
      deniedSecrets: string[];
    }[];
  };
  api: { allowed: ApiRule[]; denied: ApiRule[] };
  componentsDeny: string[];
  workflow: {
    workflowsMax: number | undefined;
    activitiesMax: number | undefined;
    sharedWorkflowsMax: number | undefined;
    sharedActivitiesMax: number | undefined;
    workflowMax: Map<string, number>;
    activityMax: Map<string, number>;
    retentionMs:
      | { anyTerminal?: number; completed?: number; failed?: number; terminated?: number }
      | undefined;
  };
  /** Middleware before the HTTP API, and before the app's own HTTP server, in the order in which a request meets it. */
  httpPipeline: PipelineHandler[];
  appHttpPipeline: PipelineHandler[];
  /** Absent: every app may call every operation. */
  accessControl?: AccessControl;
  /** Absent: peers are found in the registry of the store. */
  nameResolution?: NameResolution;
  features: Record<string, boolean>;
  apiLogging: { enabled: boolean; obfuscateURLs: boolean; omitHealthChecks: boolean };
  /** Names of the loaded resources, in order. */
  names: string[];
}

/** A component of a pipeline. */
export interface PipelineHandler {
  name: string;
  type: string;
  version: string;
}

/** Who may call the app, by service invocation (dapr-api.md §13.3). */
export interface AccessControl {
  /** Of the app itself, as its callees see it. */
  trustDomain: string;
  defaultAction: AccessAction;
  policies: {
    appId: string;
    namespace: string;
    trustDomain: string;
    defaultAction: AccessAction | undefined;
    operations: AccessOperation[];
  }[];
}

export interface AccessOperation {
  /** A path, with `*` and `**`. */
  name: string;
  /** Upper case; `*` is all of them. */
  verbs: string[];
  action: AccessAction;
}

export type AccessAction = "allow" | "deny";

export interface ApiRule {
  name: string;
  /** Canonical: `v1.0`, `v1.0-alpha1`. */
  version: string;
  protocol: "http" | "grpc";
}
