import { createHash } from "node:crypto";
import type { RateLimitResource, RateLimitRule, RateLimitTarget } from "../../resource/rate-limit.ts";
import type { Counter } from "../../telemetry/telemetry.ts";
import type { UseContext } from "../use/layer.ts";
import { type Allowance, OwnAllowance } from "./allowance.ts";
import { limitText } from "./answer.ts";
import type { Asked } from "./asked.ts";
import { Limiter, type Verdict } from "./limiter.ts";
import { SharedAllowance } from "./shared-allowance.ts";

const logEveryMs = 60_000;
const outcomes = ["allowed", "delayed", "limited", "shadowed", "failed_open", "failed_closed"] as const;
type OutcomeName = (typeof outcomes)[number];

/** One RateLimit at one of its targets: counts are kept for each target. */
export class TargetPolicy {
  readonly resource: RateLimitResource;
  readonly target: RateLimitTarget;
  readonly #context: UseContext;
  readonly #limiter: Limiter;
  readonly #counters: Record<OutcomeName, Counter>;
  #refused = 0;
  #loggedMs = Number.NEGATIVE_INFINITY;

  constructor(resource: RateLimitResource, target: RateLimitTarget, context: UseContext) {
    this.resource = resource;
    this.target = target;
    this.#context = context;
    const { spec, name } = resource;
    const { clock, telemetry } = context;
    const limits = spec.limits.map((rule, index) => ({ rule, allowance: this.#allowance(rule, index) }));
    this.#limiter = new Limiter({ onLimit: spec.onLimit, isShadow: spec.isShadow, clock, limits });
    const counterOf = (outcome: OutcomeName): [OutcomeName, Counter] => {
      const labels = { policy: name, target: labelOf(target), outcome };
      return [outcome, telemetry.metrics.counter("mecha_ratelimit_requests_total", labels)];
    };
    this.#counters = Object.fromEntries(outcomes.map(counterOf)) as Record<OutcomeName, Counter>;
  }

  /** The refusal of a shadow is counted and not said. */
  admit(asked: Asked, signal?: AbortSignal): Verdict | Promise<Verdict> {
    const verdict = this.#limiter.admit(asked, signal);
    const { isShadow } = this.resource.spec;
    if (!(verdict instanceof Promise)) return this.#note(verdict);
    if (!isShadow) return verdict.then((late) => this.#note(late));
    void verdict.then((late) => this.#note(late));
    return { isAllowed: true, hasWaited: false };
  }

  #note(verdict: Verdict): Verdict {
    const { isShadow } = this.resource.spec;
    if (verdict.taken === undefined && verdict.isAllowed) return verdict;
    this.#counters[outcomeOf(verdict, isShadow)].add();
    if (verdict.isAllowed && !verdict.taken?.isAway) return verdict;
    this.#log(verdict);
    return isShadow ? { isAllowed: true, hasWaited: false } : verdict;
  }

  #log(verdict: Verdict): void {
    this.#refused++;
    const nowMs = this.#context.clock.monotonicMs();
    if (nowMs - this.#loggedMs < logEveryMs) return;
    this.#loggedMs = nowMs;
    const fields = { target: labelOf(this.target), requests: this.#refused };
    this.#refused = 0;
    const shadow = this.resource.spec.isShadow ? "shadow of " : "";
    this.#context.telemetry.log.warn(fields, `${shadow}${limitText(this.resource.name, verdict)}`);
  }

  #allowance(rule: RateLimitRule, index: number): Allowance {
    const { clock, random, counters, principal } = this.#context;
    const { spec, name } = this.resource;
    if (spec.scope === "instance" || counters === undefined) {
      return new OwnAllowance(rule, { clock, seed: Math.floor(random.next() * 2 ** 32) });
    }
    const owner = spec.scope === "app" ? principal.appId : "";
    const limit = [principal.namespace, owner, name, labelOf(this.target), index, JSON.stringify(rule)];
    const recordOf = (key: string): string =>
      createHash("sha256")
        .update(JSON.stringify([...limit, key]))
        .digest("base64url");
    const { failurePolicy } = spec;
    return new SharedAllowance(rule, { counters, clock, random, recordOf, failurePolicy });
  }
}

function outcomeOf({ isAllowed, hasWaited, taken }: Verdict, isShadow: boolean): OutcomeName {
  if (taken?.isAway) return isAllowed ? "failed_open" : "failed_closed";
  if (!isAllowed) return isShadow ? "shadowed" : "limited";
  return hasWaited ? "delayed" : "allowed";
}

export function labelOf({ kind, name, topic }: RateLimitTarget): string {
  return topic === undefined ? `${kind}/${name}` : `${kind}/${name}/${topic}`;
}

const known = new WeakMap<UseContext, Map<string, TargetPolicy>>();

/** Those at whose targets something stands. A policy that stayed as it was keeps its counts. */
export function openTargetPolicies(
  resources: readonly RateLimitResource[],
  context: UseContext,
  isHere: (target: RateLimitTarget) => boolean,
): TargetPolicy[] {
  const before = known.get(context);
  const now = new Map<string, TargetPolicy>();
  for (const resource of resources) {
    const { name, namespace, spec } = resource;
    for (const target of spec.targets.filter(isHere)) {
      const print = JSON.stringify([namespace, name, target, { ...spec, targets: [] }]);
      now.set(print, before?.get(print) ?? new TargetPolicy(resource, target, context));
    }
  }
  known.set(context, now);
  return [...now.values()];
}
