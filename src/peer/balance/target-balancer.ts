import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import { errors } from "../../errors.ts";
import type { ConnectionLimits } from "../../net/http1/types.ts";
import type { Log, Metrics } from "../../telemetry/telemetry.ts";
import type { AppName } from "../identity.ts";
import { type Instance, isGone } from "../instance.ts";
import type { Registry } from "../registry.ts";
import { callPeer, type PeerAttempt } from "../retry.ts";
import { inSubset, type Subset, versionLabel } from "../subset.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { HealthChecks, type Probe } from "./health-checks.ts";
import { localityOf } from "./locality.ts";
import { type Verdict, verdictOfError } from "./outcome.ts";
import { OutlierDetector } from "./outlier.ts";
import { recordRtt } from "./peak-ewma.ts";
import { Picker } from "./picker.ts";
import type { BalancingPolicy, UpstreamStatus } from "./policy.ts";
import { type CallFacts, Upstream } from "./upstream.ts";
import { UpstreamMetrics } from "./upstream-metrics.ts";
import { warmthOf } from "./warmup.ts";

export interface BalancerParts {
  /** The caller. */
  appId: string;
  labels: Readonly<Record<string, string>>;
  registry: Pick<Registry, "resolve" | "suspect">;
  clock: Clock;
  random: Random;
  metrics: Metrics;
  log: Log;
  probe: Probe;
}

/** An app, or the instances of one version of it. */
export interface BalancedTarget extends AppName {
  subset?: Subset;
}

/** Hears how a call goes on that has been begun. */
export interface Listener {
  /** The head of the answer has come. */
  answered(): void;
  ended(verdict: Verdict): void;
  /** Nothing of it is under way any more. */
  released(): void;
}

export interface BalancedCall<T> {
  facts: CallFacts;
  isHttp1: boolean;
  /** Tells the listener of a result, now or when more is known. */
  follow(result: T, listener: Listener): void;
}

/** After one of these an instance is as good as this slow: who fails fast must not get more. */
const failurePenaltyMs = 5000;
const busyMs = 60_000;
/** A process that is killed closes its connections a moment before it is gone. */
const deathCheckMs = 500;

/** Chooses among the instances of one app for one caller, and remembers how they do. */
export class TargetBalancer {
  /** Of connections that are opened for it; `undefined`: the client's own. */
  readonly connection: ConnectionLimits | undefined;
  readonly #policy: BalancingPolicy;
  readonly #parts: BalancerParts;
  readonly #id: string;
  readonly #picker: Picker;
  readonly #pool: ConnectionPool | undefined;
  readonly #outliers: OutlierDetector | undefined;
  readonly #checks: HealthChecks | undefined;
  readonly #metrics: UpstreamMetrics;
  readonly #known = new WeakMap<Instance, Upstream>();
  readonly #lists = new WeakMap<readonly Instance[], Upstream[]>();
  #all: readonly Upstream[] = [];
  #calledAtMs: number;

  constructor(target: BalancedTarget, policy: BalancingPolicy, parts: BalancerParts) {
    const { appId, namespace, subset } = target;
    const { clock, probe, registry, metrics } = parts;
    const { connectionPool, outlierDetection, healthCheck } = policy;
    this.#policy = policy;
    this.#parts = parts;
    this.#id = subset === undefined ? appId : `${appId}-${subset[versionLabel]}`;
    this.#calledAtMs = clock.monotonicMs();
    this.#metrics = new UpstreamMetrics(metrics, parts.appId, this.#id);
    this.#outliers = outlierDetection && new OutlierDetector(outlierDetection);
    this.#picker = new Picker({
      ...{ policy, clock, random: parts.random, labels: parts.labels, outliers: this.#outliers },
      panicked: () => this.#metrics.panic(),
    });
    if (connectionPool !== undefined) {
      const { connectTimeoutMs, idleTimeoutMs, maxRequestsPerConnection: maxRequests } = connectionPool;
      this.connection = { connectTimeoutMs, idleTimeoutMs, maxRequests };
      this.#pool = new ConnectionPool(connectionPool, this.#id, (kind) => this.#metrics.overflow(kind));
    }
    if (healthCheck !== undefined) {
      this.#checks = new HealthChecks({
        ...{ spec: healthCheck, clock, probe },
        upstreams: () => {
          const known = registry.resolve({ appId, namespace }, { signal: AbortSignal.abort() });
          return known instanceof Promise ? this.#all : this.#upstreamsOf(inSubset(known, subset));
        },
        isBusy: () => clock.monotonicMs() - this.#calledAtMs < busyMs,
        checked: (upstream, hasChanged) => this.#checked(upstream, hasChanged),
      });
    }
  }

  /** Calls one instance after another until one is reached, within the limits of the pool. */
  call<T>(
    attempt: PeerAttempt,
    balanced: BalancedCall<T>,
    send: (instance: Instance) => Promise<T>,
  ): Promise<T> {
    const { facts, isHttp1 } = balanced;
    const isRetry = facts.avoid !== undefined && facts.avoid.size > 0;
    const pick = this.#picker.begin(facts);
    const choice = {
      pick: (instances: readonly Instance[], tried?: ReadonlySet<Instance>) =>
        this.#pick(instances, tried, pick),
      run: <U>(instance: Instance, call: (instance: Instance) => Promise<U>) =>
        this.#run(instance, balanced as unknown as BalancedCall<U>, call),
    };
    const work = (): Promise<T> => callPeer({ ...attempt, choice }, send);
    const pool = this.#pool;
    return pool === undefined ? work() : pool.run({ isHttp1, isRetry }, () => attempt.request.signal, work);
  }

  status(): UpstreamStatus[] {
    const nowMs = this.#parts.clock.monotonicMs();
    return this.#all.map((upstream) => this.#describe(upstream, nowMs));
  }

  close(): void {
    this.#checks?.close();
  }

  #pick(
    instances: readonly Instance[],
    tried: ReadonlySet<Instance> | undefined,
    pick: ReturnType<Picker["begin"]>,
  ): Instance | undefined {
    this.#calledAtMs = this.#parts.clock.monotonicMs();
    const found = pick(this.#upstreamsOf(instances), tried);
    if (found === undefined && tried === undefined)
      throw errors.POLICY(`no instance of ${this.#id} is healthy`);
    return found?.instance;
  }

  async #run<T>(
    instance: Instance,
    { facts, follow, isHttp1 }: BalancedCall<T>,
    call: (instance: Instance) => Promise<T>,
  ): Promise<T> {
    const upstream = this.#upstreamOf(instance, false);
    facts.avoid?.add(instance.instanceId);
    const listener = this.#begin(upstream);
    let result: T;
    try {
      result = await call(instance);
    } catch (error) {
      listener.ended(verdictOfError(error));
      listener.released();
      throw error;
    }
    follow(result, isHttp1 ? listener : this.#held(listener));
    return result;
  }

  /** A stream has its place in the pool until its end. */
  #held(listener: Listener): Listener {
    const giveBack = this.#pool?.hold();
    if (giveBack === undefined) return listener;
    return {
      answered: () => listener.answered(),
      ended: (verdict) => listener.ended(verdict),
      released: () => {
        giveBack();
        listener.released();
      },
    };
  }

  #begin(upstream: Upstream): Listener {
    const { clock } = this.#parts;
    const startMs = clock.monotonicMs();
    const isProbe = this.#outliers?.begin(upstream, startMs) ?? false;
    let latencyMs: number | undefined;
    let isEnded = false;
    let isReleased = false;
    upstream.active++;
    upstream.instance.outstanding++;
    upstream.calls++;
    return {
      answered: () => {
        latencyMs ??= clock.monotonicMs() - startMs;
      },
      ended: (verdict) => {
        if (isEnded) return;
        isEnded = true;
        this.#ended(upstream, { ...verdict, latencyMs: latencyMs ?? clock.monotonicMs() - startMs }, isProbe);
      },
      released: () => {
        if (isReleased) return;
        isReleased = true;
        upstream.active--;
        upstream.instance.outstanding--;
      },
    };
  }

  #ended(upstream: Upstream, outcome: Parameters<UpstreamMetrics["ended"]>[1], isProbe: boolean): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#metrics.ended(upstream, outcome);
    const isPunished = outcome.origin === "local" || outcome.status === 429 || outcome.status >= 500;
    const rttMs = isPunished ? Math.max(outcome.latencyMs, failurePenaltyMs) : outcome.latencyMs;
    if (outcome.origin !== "none") recordRtt(upstream, rttMs, nowMs);
    if (this.#outliers === undefined) return;
    const wasOnProbation = upstream.outlier.isOnProbation;
    const isEjected = this.#outliers.told(upstream, { outcome, isProbe }, { all: this.#all, nowMs });
    if (isEjected) this.#ejected(upstream, nowMs);
    else if (wasOnProbation && !upstream.outlier.isOnProbation) this.#metrics.healthy(upstream, true);
  }

  #ejected(upstream: Upstream, nowMs: number): void {
    const { ejectedUntilMs = nowMs, timesEjected } = upstream.outlier;
    this.#metrics.ejected(upstream);
    this.#metrics.healthy(upstream, false);
    const { instanceId } = upstream.instance;
    const forMs = ejectedUntilMs - nowMs;
    // Who is left out is not called, and so would not be found dead for that time.
    this.#parts.clock.setTimer(deathCheckMs, () => this.#findDead(upstream), { background: true });
    this.#parts.log.warn(
      { app: this.#id, instanceId, forMs, timesEjected },
      "an instance that fails is left out",
    );
  }

  #findDead({ instance }: Upstream): void {
    if (isGone(instance)) this.#parts.registry.suspect(instance);
  }

  #checked(upstream: Upstream, hasChanged: boolean): void {
    const { clock, log } = this.#parts;
    const nowMs = clock.monotonicMs();
    const { isFailing, failures } = upstream.check;
    // As in Envoy: who passes a check is no outlier any more.
    if (failures === 0 && this.#outliers?.isEjected(upstream, nowMs)) this.#outliers.pardon(upstream, nowMs);
    if (!hasChanged) return;
    this.#metrics.healthy(upstream, !isFailing);
    if (!isFailing && this.#policy.loadBalancer?.warmup !== undefined) upstream.warmingSinceMs = nowMs;
    const text = isFailing
      ? "an instance fails its health checks"
      : "an instance passes its health checks again";
    log.warn({ app: this.#id, instanceId: upstream.instance.instanceId }, text);
  }

  #upstreamsOf(instances: readonly Instance[]): readonly Upstream[] {
    const known = this.#lists.get(instances);
    if (known !== undefined) {
      this.#all = known;
      return known;
    }
    const isFirstLook = this.#all.length === 0;
    const upstreams = instances.map((instance) => this.#upstreamOf(instance, !isFirstLook));
    this.#lists.set(instances, upstreams);
    this.#all = upstreams;
    return upstreams;
  }

  /** Who was there at the first look is warm already. */
  #upstreamOf(instance: Instance, isNew: boolean): Upstream {
    const known = this.#known.get(instance);
    if (known !== undefined) return known;
    const isCold = isNew && this.#policy.loadBalancer?.warmup !== undefined;
    const upstream = new Upstream(instance, isCold ? this.#parts.clock.monotonicMs() : undefined);
    this.#known.set(instance, upstream);
    return upstream;
  }

  #describe(upstream: Upstream, nowMs: number): UpstreamStatus {
    const { instance, active, calls, outlier, rttMs } = upstream;
    const { warmup } = this.#policy.loadBalancer ?? {};
    const isOut = this.#outliers?.isEjected(upstream, nowMs) ?? false;
    const leftMs = (outlier.ejectedUntilMs ?? nowMs) - nowMs;
    const health = upstream.check.isFailing
      ? "failing"
      : leftMs > 0
        ? "ejected"
        : isOut || outlier.isOnProbation
          ? "probing"
          : "healthy";
    return {
      app: this.#id,
      instance: instance.instanceId,
      address: `${instance.host}:${instance.port}`,
      locality: localityOf(instance.labels),
      health,
      active,
      calls,
      weight: warmup === undefined ? 1 : warmthOf(upstream, warmup, nowMs),
      timesEjected: outlier.timesEjected,
      ...(leftMs > 0 && { ejectedForMs: leftMs }),
      ...(rttMs !== undefined && { rttMs }),
    };
  }
}
