import type { Resource } from "./resource.ts";

/** What a rule's operation speaks of. `component`: whatever the component of `targetRefs` is. */
export const operationSubjects = [
  "call",
  "state",
  "pubsub",
  "bindings",
  "actors",
  "workflows",
  "secrets",
  "configuration",
  "locks",
  "crypto",
  "conversation",
  "component",
] as const;
export type OperationSubject = (typeof operationSubjects)[number];

/** One attribute of a request: one of the values, if there are any, and none of `notValues`. */
export interface AttributeMatch {
  field: string;
  values: string[];
  notValues: string[];
}

/** All of the matches. */
export interface SourceSpec {
  matches: AttributeMatch[];
}

/** All of the matches. */
export interface OperationSpec {
  subject: OperationSubject;
  matches: AttributeMatch[];
}

/** A key and its values, or an expression. */
export type ConditionSpec = { key: string; values: string[]; notValues: string[] } | { cel: string };

/** One of `from`, one of `to` and all of `when`; an empty list is no question. */
export interface AuthorizationRule {
  from: SourceSpec[];
  to: OperationSpec[];
  when: ConditionSpec[];
}

export interface AuthorizationTarget {
  kind: "App" | "Component" | "ActorType" | "Workflow";
  name: string;
}

export const authorizationActions = ["ALLOW", "DENY", "AUDIT", "CUSTOM"] as const;
export type AuthorizationAction = (typeof authorizationActions)[number];

/** A server that decides, asked in the way of Envoy's ext_authz. */
export interface ExternalProvider {
  name: string;
  protocol: "http" | "grpc";
  uri: string;
  pathPrefix: string;
  /** Lower-case names, or their beginnings or ends with a star. */
  headersToUpstreamOnAllow: string[];
  headersToDownstreamOnDeny: string[];
  includeRequestHeadersInCheck: string[];
  timeoutMs: number;
  failOpen: boolean;
  statusOnError: number;
  /** Absent: it does not get the body. */
  requestBody?: RequestBodyInCheck | undefined;
}

/** How much of a call's body the server gets. */
export interface RequestBodyInCheck {
  bytesMax: number;
  /** Of a longer one it gets the start; otherwise such a call is refused. */
  allowsPartial: boolean;
  /** Over gRPC: bytes in the place of text. */
  isBytes: boolean;
}

export interface AuthorizationPolicySpec {
  /** Empty: the app of each runtime that sees it. */
  targets: AuthorizationTarget[];
  action: AuthorizationAction;
  /** Of CUSTOM. */
  provider?: ExternalProvider | undefined;
  /** No rule: nothing matches. */
  rules: AuthorizationRule[];
  /** It is judged and told, and decides nothing. */
  isDryRun: boolean;
}

export type AuthorizationPolicyResource = Resource<"AuthorizationPolicy", AuthorizationPolicySpec>;
