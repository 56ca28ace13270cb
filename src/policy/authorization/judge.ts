import type { ExternalProvider } from "../../resource/authorization.ts";
import type { CompiledPolicy } from "./compile.ts";
import type { AuthorizationRequest } from "./request.ts";

/** What decided, or would have. */
export interface Decision {
  /** Empty when it was that no ALLOW policy matched. */
  policy: string;
  /** -1 when it was that no ALLOW policy matched. */
  rule: number;
}

export interface Verdict {
  isAllowed: boolean;
  /** `undefined`: no policy had anything to say. */
  by: Decision | undefined;
  audits: readonly Decision[];
  /** What the policies that only run dry would have decided. */
  shadow: { isAllowed: boolean; by: Decision | undefined } | undefined;
}

const none: readonly Decision[] = [];

/** A CUSTOM policy that matched. */
export interface Question {
  provider: ExternalProvider;
  by: Decision;
}

/** The policies of one place, in Istio's order: who is denied is not asked further, AUDIT decides nothing. */
export class Judge {
  readonly #enforced: PolicySet;
  readonly #dry: PolicySet | undefined;
  readonly #audits: readonly CompiledPolicy[];
  readonly #customs: readonly CompiledPolicy[];

  /** Whether a request has to say which tools it calls. */
  readonly asksTools: boolean;

  constructor(policies: readonly CompiledPolicy[]) {
    this.asksTools = policies.some((policy) => policy.asksTools);
    const dry = policies.filter(({ isDryRun }) => isDryRun);
    this.#enforced = new PolicySet(policies.filter(({ isDryRun }) => !isDryRun));
    this.#dry = dry.length === 0 ? undefined : new PolicySet(dry);
    this.#customs = policies.filter(({ action }) => action === "CUSTOM");
    this.#audits = policies.filter(({ action, isDryRun }) => action === "AUDIT" && !isDryRun);
  }

  /** The servers that have to be asked before anything else is decided. */
  questions(request: AuthorizationRequest): Question[] {
    return this.#customs.flatMap((policy) => {
      const by = policy.provider && matchOf(policy, request);
      return by && policy.provider ? [{ provider: policy.provider, by }] : [];
    });
  }

  judge(request: AuthorizationRequest): Verdict {
    const { isAllowed, by } = this.#enforced.decide(request);
    const audits =
      this.#audits.length === 0 ? none : this.#audits.flatMap((policy) => matchOf(policy, request) ?? []);
    return { isAllowed, by, audits, shadow: this.#dry?.decide(request) };
  }
}

class PolicySet {
  readonly #denials: readonly CompiledPolicy[];
  readonly #grants: readonly CompiledPolicy[];

  constructor(policies: readonly CompiledPolicy[]) {
    this.#denials = policies.filter(({ action }) => action === "DENY");
    this.#grants = policies.filter(({ action }) => action === "ALLOW");
  }

  decide(request: AuthorizationRequest): { isAllowed: boolean; by: Decision | undefined } {
    const denial = firstMatch(this.#denials, request);
    if (denial !== undefined) return { isAllowed: false, by: denial };
    if (this.#grants.length === 0) return { isAllowed: true, by: undefined };
    const grant = firstMatch(this.#grants, request);
    return { isAllowed: grant !== undefined, by: grant ?? { policy: "", rule: -1 } };
  }
}

function firstMatch(
  policies: readonly CompiledPolicy[],
  request: AuthorizationRequest,
): Decision | undefined {
  for (const policy of policies) {
    const decision = matchOf(policy, request);
    if (decision !== undefined) return decision;
  }
  return undefined;
}

function matchOf(policy: CompiledPolicy, request: AuthorizationRequest): Decision | undefined {
  const rule = policy.match(request);
  return rule < 0 ? undefined : { policy: policy.name, rule };
}
