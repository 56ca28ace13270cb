import type { AppName } from "../identity.ts";
import { type Subset, versionLabel } from "../subset.ts";
import type { BalancingPolicy, UpstreamStatus } from "./policy.ts";
import { type BalancedTarget, type BalancerParts, TargetBalancer } from "./target-balancer.ts";

/**
 * What policies say for an app, or for the instances of it that a route names; the same object as long as nothing changed,
 * and that of the app where there is nothing of their own.
 */
export type Balancing = (name: AppName, subset?: Subset) => BalancingPolicy | undefined;

/** The balancers of one caller, one for each app or version that a policy is for. */
export class Balancers {
  readonly #balancing: Balancing;
  readonly #parts: BalancerParts;
  readonly #open = new Map<string, { policy: BalancingPolicy; balancer: TargetBalancer }>();

  constructor(balancing: Balancing, parts: BalancerParts) {
    this.#balancing = balancing;
    this.#parts = parts;
  }

  of(name: AppName, subset?: Subset): TargetBalancer | undefined {
    const policy = this.#balancing(name);
    const own = subset === undefined ? policy : this.#balancing(name, subset);
    if (own === undefined && this.#open.size === 0) return undefined;
    const key = `${name.namespace}/${name.appId}`;
    if (subset === undefined) return this.#at(key, name, policy);
    const versionKey = `${key} ${subset[versionLabel]}`;
    if (own !== policy) return this.#at(versionKey, { ...name, subset }, own);
    this.#at(versionKey, name, undefined);
    return this.#at(key, name, policy);
  }

  #at(key: string, target: BalancedTarget, policy: BalancingPolicy | undefined): TargetBalancer | undefined {
    const known = this.#open.get(key);
    if (known?.policy === policy) return known?.balancer;
    known?.balancer.close();
    this.#open.delete(key);
    if (policy === undefined) return undefined;
    const balancer = new TargetBalancer(target, policy, this.#parts);
    this.#open.set(key, { policy, balancer });
    return balancer;
  }

  status(): UpstreamStatus[] {
    return [...this.#open.values()].flatMap(({ balancer }) => balancer.status());
  }

  close(): void {
    for (const { balancer } of this.#open.values()) balancer.close();
    this.#open.clear();
  }
}
