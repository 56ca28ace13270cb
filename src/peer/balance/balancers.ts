import type { AppName } from "../identity.ts";
import type { BalancingPolicy, UpstreamStatus } from "./policy.ts";
import { type BalancerParts, TargetBalancer } from "./target-balancer.ts";

/** What a policy says for an app; the same object as long as nothing changed. */
export type Balancing = (name: AppName) => BalancingPolicy | undefined;

/** The balancers of one caller, one for each app that a policy is for. */
export class Balancers {
  readonly #balancing: Balancing;
  readonly #parts: BalancerParts;
  readonly #open = new Map<string, { policy: BalancingPolicy; balancer: TargetBalancer }>();

  constructor(balancing: Balancing, parts: BalancerParts) {
    this.#balancing = balancing;
    this.#parts = parts;
  }

  of(name: AppName): TargetBalancer | undefined {
    const policy = this.#balancing(name);
    if (policy === undefined && this.#open.size === 0) return undefined;
    const key = `${name.namespace}/${name.appId}`;
    const known = this.#open.get(key);
    if (known?.policy === policy) return known?.balancer;
    known?.balancer.close();
    this.#open.delete(key);
    if (policy === undefined) return undefined;
    const balancer = new TargetBalancer(name, policy, this.#parts);
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
