import { SimulatedClock, seededRandom } from "../../edges/simulated.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Instance } from "../instance.ts";
import type { PeerAttempt } from "../retry.ts";
import type { Probe } from "./health-checks.ts";
import { answered, type Verdict } from "./outcome.ts";
import type { BalancingPolicy } from "./policy.ts";
import { type Listener, TargetBalancer } from "./target-balancer.ts";
import type { CallFacts } from "./upstream.ts";

const nothing = (): void => {};
const quietLog: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => quietLog,
};

export function instanceOf(id: string, labels: Record<string, string> = {}): Instance {
  return {
    ...{ appId: "orders", namespace: "default", instanceId: id, token: "t", labels },
    ...{ host: "127.0.0.1", port: 1, address: { host: "127.0.0.1", port: 1 }, pid: 0, machine: "", etag: "" },
    ...{ expiresAtMs: Number.POSITIVE_INFINITY, outstanding: 0, suspectUntilMs: 0 },
  };
}

export const outlierDefaults = {
  ...{ consecutive5xxErrors: 5, consecutiveGatewayErrors: 0, intervalMs: 10_000, baseEjectionTimeMs: 30_000 },
  ...{ maxEjectionPercent: 100, minHealthPercent: 0, splitExternalLocalOriginErrors: false },
  ...{ consecutiveLocalOriginFailures: 5, httpErrorCodes: [], probe: "none" as const },
};
export const balancerDefaults = { simple: "LEAST_REQUEST" as const, panicThreshold: 50 };
export const poolDefaults = {
  ...{ maxConnections: 1024, connectTimeoutMs: 10_000, idleTimeoutMs: undefined, maxRetries: 3 },
  ...{ http1MaxPendingRequests: 1024, http2MaxRequests: 1024, maxRequestsPerConnection: 0 },
};

export interface FixtureOptions {
  seed?: number;
  labels?: Record<string, string>;
  probe?: Probe;
}

/** A balancer on a clock that is moved by hand, and the instances it finds. */
export class Balanced {
  readonly clock = new SimulatedClock();
  readonly metrics = createMetrics();
  readonly random;
  readonly balancer: TargetBalancer;
  instances: Instance[];
  readonly registry = {
    resolve: () => this.instances,
    suspect: (instance: Instance) => {
      instance.suspectUntilMs = this.clock.monotonicMs() + 1000;
    },
  };

  constructor(policy: BalancingPolicy, instances: Instance[], options: FixtureOptions = {}) {
    this.instances = instances;
    this.random = seededRandom(options.seed ?? 1);
    this.balancer = new TargetBalancer({ appId: "orders", namespace: "default" }, policy, {
      ...{ appId: "caller", labels: options.labels ?? {}, clock: this.clock, random: this.random },
      ...{ registry: this.registry, metrics: this.metrics, log: quietLog },
      probe: options.probe ?? (async () => true),
    });
  }

  /** Makes a call that `work` answers for; what it rejects with is a failure to reach. */
  call(
    work: (instance: Instance) => Promise<number> | number,
    facts: Partial<CallFacts> = {},
  ): Promise<{ status: number; instance: string }> {
    const whole = { header: () => undefined, target: "/", remoteAddress: "", ...facts };
    return this.balancer.call(
      this.#attempt(),
      {
        facts: whole,
        isHttp1: true,
        follow: ({ status }, listener) => {
          const verdict: Verdict = answered(status);
          listener.ended(verdict);
          listener.released();
        },
      },
      async (instance) => ({ status: await work(instance), instance: instance.instanceId }),
    );
  }

  #attempt(): PeerAttempt {
    return {
      registry: this.registry as never,
      clock: this.clock,
      retry: { retries: 0, pauseMs: () => 0 },
      name: { appId: "orders", namespace: "default" },
      id: "orders",
      request: { signal: new AbortController().signal },
    };
  }

  /** Opens a stream; answers how to end it. */
  stream(): Promise<() => void> {
    let end = (): void => {};
    const follow = (_result: number, listener: Listener): void => {
      end = () => {
        listener.ended(answered(200));
        listener.released();
      };
    };
    const facts = { header: () => undefined, target: "/", remoteAddress: "" };
    const call = { facts, isHttp1: false, follow };
    return this.balancer.call(this.#attempt(), call, async () => 0).then(() => end);
  }

  health(): Record<string, string> {
    return Object.fromEntries(this.balancer.status().map(({ instance, health }) => [instance, health]));
  }

  /** Who got calls, and how many. */
  async shares(calls: number, facts: Partial<CallFacts> = {}): Promise<Record<string, number>> {
    const shares: Record<string, number> = {};
    for (let i = 0; i < calls; i++) {
      const { instance } = await this.call(() => 200, facts);
      shares[instance] = (shares[instance] ?? 0) + 1;
    }
    return shares;
  }
}
