import type { AccessControl, AccessOperation } from "../resource/resource.ts";

/** Who calls: the parts of the SPIFFE id that Dapr compares. */
export interface CallerIdentity {
  appId: string;
  namespace: string;
  trustDomain: string;
}

export interface AccessRequest {
  /** `undefined` when nobody vouches for the caller. */
  caller: CallerIdentity | undefined;
  /** `/method/path`, canonical, or `/package.Service/Method`. */
  operation: string;
  /** Empty where there is none. */
  verb: string;
}

export interface AccessVerdict {
  isAllowed: boolean;
  /** Whose action it was: that of the caller's policy, or the default of all. */
  decidedBy: "app" | "global";
}

/**
 * Who may call which operation of an app (`Configuration.spec.accessControl`, dapr-api.md §13.3). The operations of
 * HTTP apps are compared without case and by verb, those of gRPC apps as they are.
 */
export class AccessList {
  readonly #isAllowedByDefault: boolean;
  readonly #isHttp: boolean;
  readonly #policies = new Map<string, CallerPolicy>();

  constructor({ defaultAction, policies }: AccessControl, protocol: "http" | "grpc") {
    this.#isAllowedByDefault = defaultAction === "allow";
    this.#isHttp = protocol === "http";
    for (const { appId, namespace, trustDomain, defaultAction: action, operations } of policies) {
      const root: PathNode = { children: [] };
      for (const operation of operations) addOperation(root, operation, this.#isHttp);
      const isAllowed = action === undefined ? undefined : action === "allow";
      this.#policies.set(`${namespace}/${appId}`, { trustDomain, isAllowed, root });
    }
  }

  judge(request: AccessRequest): AccessVerdict {
    const verdict = this.#judge(request);
    const { operation } = request;
    if (!verdict.isAllowed || !this.#isHttp || !ambiguous.test(operation)) return verdict;
    // Some apps drop the parameters of a segment, or take a backslash for a slash: what they see may not be forbidden either.
    return this.#judge({ ...request, operation: looserForm(operation) });
  }

  #judge({ caller, operation, verb }: AccessRequest): AccessVerdict {
    const policy = caller && this.#policies.get(`${caller.namespace}/${caller.appId}`);
    if (policy === undefined || policy.trustDomain !== caller?.trustDomain)
      return { isAllowed: this.#isAllowedByDefault, decidedBy: "global" };
    const found = findOperation(policy.root, this.#isHttp ? operation.toLowerCase() : operation);
    const isAllowed = found && this.#allows(found, verb, policy);
    if (isAllowed !== undefined) return { isAllowed, decidedBy: "app" };
    if (policy.isAllowed !== undefined) return { isAllowed: policy.isAllowed, decidedBy: "app" };
    return { isAllowed: this.#isAllowedByDefault, decidedBy: "global" };
  }

  /** `undefined`: the operation says nothing of this verb. */
  #allows({ action, verbs }: AccessOperation, verb: string, policy: CallerPolicy): boolean | undefined {
    if (!this.#isHttp) return action === "allow";
    // A call without a verb matches no rule about verbs; as in Dapr only the caller's own default lets it in.
    if (verb === "" || verb === "NONE") return policy.isAllowed ?? false;
    return verbs.includes(verb) || verbs.includes("*") ? action === "allow" : undefined;
  }
}

const ambiguous = /;|\\|%5c/i;

function looserForm(operation: string): string {
  return operation
    .replace(/\\|%5c/gi, "/")
    .replace(/;[^/]*/g, "")
    .replace(/\/{2,}/g, "/");
}

interface CallerPolicy {
  trustDomain: string;
  /** `undefined`: what holds for all. */
  isAllowed: boolean | undefined;
  root: PathNode;
}

interface PathNode {
  children: { segment: string; pattern: RegExp | undefined; node: PathNode }[];
  operation?: AccessOperation;
}

/** The first of two rules for the same path counts. */
function addOperation(root: PathNode, operation: AccessOperation, isCaseless: boolean): void {
  const path = isCaseless ? operation.name.toLowerCase() : operation.name;
  let node = root;
  for (const segment of segmentsOf(path)) {
    let child = node.children.find((each) => each.segment === segment);
    if (child === undefined) {
      child = { segment, pattern: patternOf(segment), node: { children: [] } };
      node.children.push(child);
    }
    node = child.node;
  }
  node.operation ??= operation;
}

/**
 * Dapr's walk: at each segment the first rule, in the order of the file, that fits it. `*` alone is one segment at
 * the end of a path, or nothing; `**` is the rest; a `*` among letters is any letters. A rule whose path ends early
 * covers what is below it.
 */
function findOperation(root: PathNode, path: string): AccessOperation | undefined {
  const segments = segmentsOf(path);
  let node = root;
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    const child = node.children.find((each) => fits(each, segment, isLast));
    if (child === undefined) return undefined;
    node = child.node;
    if (node.operation !== undefined) return node.operation;
  }
  return node.children.find(({ segment }) => segment === "*" || segment === "**")?.node.operation;
}

function fits({ segment, pattern }: PathNode["children"][number], wanted: string, isLast: boolean): boolean {
  if (segment === wanted || segment === "**") return true;
  return segment === "*" ? isLast : pattern?.test(wanted) === true;
}

function segmentsOf(path: string): string[] {
  return path.replace(/^\//, "").split("/");
}

function patternOf(segment: string): RegExp | undefined {
  if (!segment.includes("*") || segment === "*" || segment === "**") return undefined;
  const parts = segment.split(/\*+/).map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
