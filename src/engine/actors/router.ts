import { type Clock, sleep } from "../../edges/clock.ts";
import { errors, Fault } from "../../errors.ts";
import type { HttpClient } from "../../net/http1/types.ts";
import { type ActorMessage, type ActorPeer, callActorPeer } from "../../peer/actor-link.ts";
import type { AppName } from "../../peer/identity.ts";
import type { PeerSecurity } from "../../peer/security.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import type { Cluster, HostRecord } from "./cluster.ts";
import type { SearchPlan } from "./policy.ts";
import { type Done, decodeResult, encodeOrder, type Order, type Result } from "./work.ts";

export interface RouterOptions {
  cluster: Cluster;
  httpClient: HttpClient;
  security: PeerSecurity | undefined;
  clock: Clock;
  caller: AppName;
  trustDomain(): string;
  bodyBytesMax: number;
  leaseMs: number;
  /** The actor host of an app of this process, when that is where the order goes. */
  local(name: AppName): ActorPeer | undefined;
  /** A turn in this runtime. */
  here(order: Order, context: OrderContext): Promise<Result | { kind: "elsewhere"; host: HostRecord }>;
  /** Whether the actor lives here already, wherever it should. */
  isHere(order: Order): boolean;
  search(): SearchPlan | undefined;
}

export interface OrderContext {
  trace: SpanContext | undefined;
  signal: AbortSignal;
}

/** An actor type that nobody hosts may be starting. */
const unknownType = { tries: 5, pauseMs: 200 };
const pauseMs = { first: 10, longest: 250 };
const hopsMax = 3;

/** Brings orders to the host that has the actor, wherever it is by then. */
export class Router {
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Goes after the actor until it has its turn; for as long as a host that stopped can keep it. */
  async run(order: Order, context: OrderContext): Promise<Done> {
    const { clock, leaseMs } = this.#options;
    const untilMs = clock.monotonicMs() + 2 * leaseMs + pauseMs.longest;
    const plan = this.#options.search();
    let wait = pauseMs.first;
    for (let attempt = 1; ; attempt++) {
      const result = await this.once(order, context);
      if (result.kind !== "again") return result;
      const isOver = plan === undefined ? clock.monotonicMs() > untilMs : attempt > plan.retries;
      if (isOver) throw errors.ACTOR_NO_ADDRESS(`${order.type}||${order.id}`);
      await sleep(clock, plan?.pauseMs(attempt) ?? wait, context.signal);
      wait = Math.min(wait * 2, pauseMs.longest);
      context.signal.throwIfAborted();
    }
  }

  /** One try: here, or at the host that seems to have it. */
  async once(order: Order, context: OrderContext): Promise<Result> {
    const { cluster, isHere, here } = this.#options;
    let target = isHere(order) ? cluster.self : await this.#hostFor(order, context.signal);
    if (target !== undefined && target.hostId === cluster.self?.hostId) {
      const result = await here(order, context);
      if (result.kind !== "elsewhere") return result;
      target = result.host;
    }
    if (target === undefined || order.hops >= hopsMax) return { kind: "again" };
    return this.#send({ ...order, hops: order.hops + 1 }, target, context);
  }

  async #hostFor({ type, id }: Order, signal: AbortSignal): Promise<HostRecord | undefined> {
    const { cluster, clock } = this.#options;
    for (let left = unknownType.tries; ; left--) {
      const host = await cluster.hostFor(type, id);
      if (host !== undefined) return host;
      if (left === 0) throw errors.ACTOR_NO_ADDRESS(`${type}||${id}`);
      await sleep(clock, unknownType.pauseMs, signal);
      signal.throwIfAborted();
    }
  }

  async #send(order: Order, target: HostRecord, { trace, signal }: OrderContext): Promise<Result> {
    const { cluster, httpClient, bodyBytesMax, local, security } = this.#options;
    const caller = { ...this.#options.caller, trustDomain: this.#options.trustDomain() };
    const gone = cluster.goneSignal(target);
    const either = AbortSignal.any([signal, gone]);
    const message = encodeOrder(order);
    try {
      const peer = local(target);
      const answer: ActorMessage =
        peer?.hostId === target.hostId
          ? await peer.call(message, { caller, trace, signal: either })
          : await callActorPeer(httpClient, target, message, {
              ...{ caller, trace, signal: either, bodyBytesMax, security },
            });
      return decodeResult(answer);
    } catch (error) {
      if (error instanceof Fault || signal.aborted) throw error;
      if (gone.aborted)
        throw errors.ACTOR_INVOKE("the host of the actor is gone; whether the turn ran is unknown");
      if ((error as Error).name !== "ConnectError") throw errors.ACTOR_INVOKE((error as Error).message);
      await cluster.suspect(target);
      return { kind: "again" };
    }
  }
}
