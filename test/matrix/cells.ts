// What policies are proved on what building blocks: the table behind docs/reference/policies.md and the matrix test.

export const blockNames = [
  "invoke HTTP",
  "invoke gRPC",
  "gRPC proxied",
  "state",
  "publish",
  "deliver",
  "binding out",
  "binding in",
  "actor",
  "cryptography",
  "conversation",
  "workflow",
  "workflow step",
  "HTTPRoute",
  "GRPCRoute",
  "AppVersion",
  "Gateway",
] as const;
export type BlockName = (typeof blockNames)[number];

export interface PolicyRow {
  name: string;
  /** In the guide. */
  link: string;
  /** What is proved. */
  claim: string;
  /** Where it does not apply, and why. */
  notFor: Partial<Record<BlockName, string>>;
}

const event = "an event is handed over once at a time";

/** A TrafficPolicy has no target of that kind. */
const written = "what is done with a workflow is one commit of mecha's own; its steps have their policies";

/** Answers to HTTP calls alone have the headers that say how long, and for whom, they hold. */
const keptNowhereElse = reasonFor(
  ["invoke HTTP", "HTTPRoute", "AppVersion", "Gateway"],
  "only answers to HTTP calls can be kept and shared",
);

const chosenNowhereElse = reasonFor(
  ["invoke HTTP", "invoke gRPC", "gRPC proxied", "AppVersion"],
  "only calls of an app, or of a version of it, choose among instances",
);

const arriving = "a call is judged where it arrives, by the policies of the app that is called";

function reasonFor(others: readonly BlockName[], reason: string): PolicyRow["notFor"] {
  const names = blockNames.filter((name) => !others.includes(name));
  return Object.fromEntries(names.map((name) => [name, reason]));
}

/** A row for each policy; its proof is in proofs.ts under the same name. */
export const policyRows = [
  {
    name: "fault.delay",
    link: "traffic.md#fault",
    claim: "the use takes longer, and is good",
    notFor: { workflow: written },
  },
  {
    name: "fault.abort",
    link: "traffic.md#fault",
    claim: "the use fails, and the target hears nothing of it",
    notFor: { workflow: written },
  },
  {
    name: "retries",
    link: "traffic.md#retries-and-retrybudget",
    claim: "two failures and a success are a success of three tries",
    notFor: { workflow: written },
  },
  {
    name: "retryBudget",
    link: "traffic.md#retries-and-retrybudget",
    claim: "without a budget left the failure is given back after one try",
    notFor: { workflow: written },
  },
  {
    name: "circuitBreaker",
    link: "traffic.md#circuitbreaker",
    claim: "after six failures nothing reaches the target",
    notFor: { workflow: written },
  },
  {
    name: "hedging",
    link: "traffic.md#hedging",
    claim: "a try that hangs is overtaken by a second one",
    notFor: {
      "gRPC proxied": "the answer is passed on while it comes, so there can be only one",
      publish: "a second try is a second event",
      deliver: event,
      "binding in": event,
      actor: "an actor takes one turn at a time, so the second try would wait for the first",
      workflow: written,
      "workflow step": "a step is with one worker at a time",
      GRPCRoute: "the answer is passed on while it comes, so there can be only one",
    },
  },
  {
    name: "fallback",
    link: "traffic.md#fallback",
    claim: "a failure is answered by what is written down",
    notFor: {
      workflow: written,
      deliver: "nobody reads the answer to an event; one that was not taken is delivered again",
      "binding in": "nobody reads the answer to an event; its source hears that it was not taken",
    },
  },
  {
    name: "adaptiveConcurrency",
    link: "traffic.md#adaptiveconcurrency-and-admissioncontrol",
    claim: "a use over the limit is refused",
    notFor: { workflow: written },
  },
  {
    name: "admissionControl",
    link: "traffic.md#adaptiveconcurrency-and-admissioncontrol",
    claim: "while nothing succeeds a share is refused",
    notFor: { workflow: written },
  },
  {
    name: "cache",
    link: "cache.md",
    claim: "the second use is answered without the target",
    notFor: keptNowhereElse,
  },
  {
    name: "collapse",
    link: "cache.md",
    claim: "two equal uses at once are one for the target",
    notFor: keptNowhereElse,
  },
  {
    name: "AuthorizationPolicy",
    link: "authorization.md",
    claim: "a use that is denied does not reach the target",
    notFor: {
      "workflow step": "which steps other apps may ask for is said by a WorkflowAccessPolicy",
      ...{ HTTPRoute: arriving, GRPCRoute: arriving, AppVersion: arriving, Gateway: arriving },
    },
  },
  {
    name: "RateLimit",
    link: "rate-limits.md",
    claim: "a use over the limit does not reach the target",
    notFor: {},
  },
] as const satisfies readonly PolicyRow[];

/** Rows that need several instances of the app; their proofs are in balance-proofs.ts. */
export const balancingRows = [
  {
    name: "loadBalancer",
    link: "balancing.md#loadbalancer",
    claim: "all uses with one key go to one of two instances",
    notFor: chosenNowhereElse,
  },
  {
    name: "connectionPool",
    link: "balancing.md#connectionpool",
    claim: "a use over the limit of the pool is refused at once",
    notFor: chosenNowhereElse,
  },
  {
    name: "outlierDetection",
    link: "balancing.md#outlierdetection",
    claim: "an instance that fails twice gets no more uses",
    notFor: chosenNowhereElse,
  },
  {
    name: "healthCheck",
    link: "balancing.md#healthcheck",
    claim: "an instance that fails its checks gets no uses",
    notFor: chosenNowhereElse,
  },
] as const satisfies readonly PolicyRow[];
export type BalancingName = (typeof balancingRows)[number]["name"];
export type PolicyName = (typeof policyRows)[number]["name"];
