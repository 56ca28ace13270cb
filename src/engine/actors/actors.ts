import type { AppChannel } from "../../app/channel.ts";
import { sleep } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import { errors, Fault } from "../../errors.ts";
import type { HttpClient } from "../../net/http1/types.ts";
import type { ActorMessage, ActorPeer } from "../../peer/actor-link.ts";
import { type AppName, appText } from "../../peer/identity.ts";
import type { PeerCaller, PeerSecurity } from "../../peer/security.ts";
import type { Log, Telemetry } from "../../telemetry/telemetry.ts";
import type { Store } from "../store/store.ts";
import type { ActiveActor } from "./active-actor.ts";
import type { ActorApp, TurnContext } from "./app.ts";
import { type Announcement, Cluster } from "./cluster.ts";
import type { TypeConfig } from "./config.ts";
import type {
  ActorAnswer,
  ActorCall,
  ActorRef,
  ActorsEngine,
  ActorsStatus,
  ActorTimer,
  Fence,
  Reminder,
} from "./engine.ts";
import { ActorHost } from "./host.ts";
import { discoverActors, HttpActorApp, shown } from "./http-app.ts";
import { ActorMeter } from "./meter.ts";
import { Ownership } from "./ownership.ts";
import { ActorAppFailure, type ActorPolicy, headerIn, noActorPolicy, withinTurn } from "./policy.ts";
import { Reminders, type RemindOutcome } from "./reminders.ts";
import { type OrderContext, Router } from "./router.ts";
import { ActorTimers } from "./timers.ts";
import { askerOf, type Done, decodeOrder, encodeFailure, encodeResult, type Order } from "./work.ts";

/** Whether another runtime may call an actor here. */
export type ActorAuthorization = (
  caller: PeerCaller,
  call: ActorRef & { method: string; header(lowerName: string): string | undefined },
) => boolean;

export interface ActorsOptions {
  principal: AppName;
  /** Of the app. */
  trustDomain(): string;
  authorize: ActorAuthorization;
  channel: AppChannel | undefined;
  store: Store;
  edges: Edges;
  telemetry: Telemetry;
  httpClient: HttpClient;
  security?: PeerSecurity | undefined;
  bodyBytesMax: number;
  /** Hosts of one name find each other. */
  cluster: string;
  leaseMs: number;
  /** Whether the app is asked for its types. */
  discovers: boolean;
  /** Where other processes reach this host; known when the peer port listens. */
  address(): Omit<Announcement, "hostId" | "namespace" | "appId">;
  local(name: AppName): ActorPeer | undefined;
  policy?: ActorPolicy;
  /** Readiness of the host. */
  onReady(isReady: boolean): void;
}

export const defaultLeaseMs = 6000;
const rejoinPauseMs = 200;
const discoveryTries = 4;
const discoveryPauseMs = 500;
const closeGraceMs = 5000;

export interface RunningActors extends ActorsEngine {
  readonly peer: ActorPeer;
}

export function createActors(options: ActorsOptions): RunningActors {
  return new AppActors(options);
}

class AppActors implements RunningActors {
  readonly peer: ActorPeer;
  readonly #options: ActorsOptions;
  readonly #hostId: string;
  readonly #log: Log;
  readonly #cluster: Cluster;
  readonly #host: ActorHost;
  readonly #router: Router;
  readonly #timers: ActorTimers;
  readonly #reminders: Reminders;
  readonly #closing = new AbortController();
  readonly #policy: ActorPolicy;
  #hosted: { types: ReadonlyMap<string, TypeConfig>; app: ActorApp } | undefined;
  #isPaused = false;
  #moving: Promise<void> = Promise.resolve();

  constructor(options: ActorsOptions) {
    const { store, edges, telemetry, cluster, leaseMs, principal, httpClient, bodyBytesMax, local } = options;
    const { security } = options;
    const { clock } = edges;
    this.#options = options;
    this.#policy = options.policy ?? noActorPolicy;
    this.#hostId = `${principal.appId}-${Buffer.from(edges.random.bytes(9)).toString("base64url")}`;
    const log = telemetry.log.scope("dapr.runtime.actor");
    this.#log = log;
    const meter = new ActorMeter(telemetry.metrics, principal.appId);
    this.#cluster = new Cluster({
      ...{ store, clock, log, cluster, leaseMs },
      onChange: () => this.#host.rebalance(),
      onLost: () => this.#lost(),
    });
    const ownership = new Ownership(store, this.#cluster, cluster);
    this.#host = new ActorHost({ cluster: this.#cluster, ownership, clock, log, meter });
    this.#router = new Router({
      ...{
        cluster: this.#cluster,
        httpClient,
        clock,
        caller: principal,
        trustDomain: options.trustDomain,
        bodyBytesMax,
        leaseMs,
        local,
        security,
      },
      here: (order, context) => this.#turn(order, context),
      isHere: (order) => this.#host.find(order) !== undefined,
      search: () => this.#policy.search(),
    });
    this.#timers = new ActorTimers({ clock, log, meter, fire: (timer) => this.#fireTimer(timer) });
    const remind = (reminder: Reminder, signal: AbortSignal) => this.#remind(reminder, signal);
    this.#reminders = new Reminders({ store, clock, log, meter, cluster, owner: this.#hostId, remind });
    security?.onChange(() => this.#cluster.update({ tls: options.address().tls }));
    this.peer = { hostId: this.#hostId, call: (message, context) => this.#serve(message, context) };
  }

  async invoke(call: ActorCall): Promise<ActorAnswer> {
    const { type, id, method, headers, body, reentrancyId, trace, signal } = call;
    const work = { kind: "invoke", method, headers } as const;
    const order = { type, id, work, body, reentrancyId, hops: 0 };
    const attempt = async (ended: AbortSignal): Promise<ActorAnswer> => {
      const done = await this.#order(order, { trace, signal: ended });
      if (done.kind !== "answer") throw errors.ACTOR_INVOKE("no answer");
      return judged(done.answer);
    };
    try {
      return await this.#policy.call(call, attempt, signal);
    } catch (error) {
      // An open breaker speaks for itself, in the words of the catalogue.
      if (error instanceof Fault || signal.aborted) throw error;
      throw errors.ACTOR_INVOKE((error as Error).message, { cause: error });
    }
  }

  fence(actor: ActorRef): Fence {
    const active = this.#host.find(actor);
    if (active === undefined) throw errors.ACTOR_INSTANCE_MISSING();
    return active.fence;
  }

  isHeld(fence: Fence): Promise<boolean> {
    return this.#cluster.isHeld(fence);
  }

  async setTimer(timer: ActorTimer): Promise<void> {
    this.#timers.set(this.#present(timer), timer);
  }

  async deleteTimer(actor: ActorRef, name: string): Promise<void> {
    const active = this.#host.find(actor);
    if (active !== undefined) this.#timers.delete(active, name);
  }

  async setReminder(reminder: Reminder, { overwrite }: { overwrite: boolean }): Promise<void> {
    this.#requireHosted(reminder.type);
    if (this.#host.isStale(reminder))
      throw errors.ACTOR_REMINDER_CREATE("this host does not own the actor any more");
    const fence = this.#cluster.fence;
    if (fence === undefined) throw errors.ACTOR_REMINDER_CREATE("this host has no lease");
    await this.#reminders.set(reminder, overwrite, fence);
  }

  async getReminder(actor: ActorRef, name: string): Promise<Reminder> {
    this.#requireHosted(actor.type);
    return this.#reminders.get(actor, name);
  }

  async deleteReminder(actor: ActorRef, name: string): Promise<void> {
    this.#requireHosted(actor.type);
    await this.#reminders.delete(actor, name);
  }

  async listReminders(type: string, id: string | undefined): Promise<Reminder[]> {
    this.#requireHosted(type);
    return this.#reminders.list(type, id);
  }

  async deleteReminders(type: string, id: string | undefined): Promise<void> {
    this.#requireHosted(type);
    await this.#reminders.deleteAll(type, id);
  }

  status(): ActorsStatus {
    const { isJoined } = this.#cluster;
    const isWaiting = this.#host.types.size > 0 && !isJoined;
    return {
      status: isWaiting ? "initializing" : "running",
      activeActors: this.#host.counts(),
      isHostReady: !isWaiting,
      placement: "placement: connected",
    };
  }

  async start(): Promise<void> {
    const { channel, discovers, bodyBytesMax } = this.#options;
    if (channel === undefined || channel.protocol !== "http" || !discovers) return;
    const { signal } = this.#closing;
    const types = await this.#discover(channel);
    const reserved = [...types.keys()].find((type) => type.startsWith("dapr.internal."));
    if (reserved !== undefined) throw errors.ACTOR_TYPE_RESERVED(reserved);
    if (types.size === 0 || signal.aborted) return;
    await this.attach(types, new HttpActorApp(channel, bodyBytesMax));
  }

  async attach(types: ReadonlyMap<string, TypeConfig>, app: ActorApp): Promise<() => Promise<void>> {
    const hosted = { types, app };
    await this.#move(async () => {
      await this.#leave();
      this.#hosted = hosted;
      this.#log.info({}, `Registering hosted actors: [${[...types.keys()].join(" ")}]`);
      await this.#join();
    });
    return () =>
      this.#move(async () => {
        if (this.#hosted !== hosted) return;
        await this.#leave();
        this.#hosted = undefined;
        this.#host.open(new Map(), app);
      });
  }

  pause(): Promise<void> {
    this.#isPaused = true;
    return this.#move(() => this.#leave());
  }

  async resume(): Promise<void> {
    this.#isPaused = false;
    await this.#move(() => this.#join());
  }

  async close(): Promise<void> {
    await this.pause();
    this.#closing.abort(errors.ACTOR_RUNTIME_CLOSED());
    this.#hosted?.app.end?.();
    await this.#reminders.close();
    await this.#cluster.close();
  }

  /** An app may listen before it can answer. */
  async #discover(channel: AppChannel): Promise<Map<string, TypeConfig>> {
    const { signal } = this.#closing;
    const { principal, edges } = this.#options;
    for (let left = discoveryTries - 1; !signal.aborted; left--) {
      try {
        return await discoverActors(channel, principal.appId, signal);
      } catch (error) {
        if (signal.aborted) break;
        // What is no JSON now will be none later: the app answers everything alike, and has no actors.
        const isLast = left === 0 || error instanceof SyntaxError;
        const outlook = isLast ? "no actors" : "asking again";
        this.#log.warn({ error }, `the app's /dapr/config could not be read: ${outlook}`);
        if (isLast) break;
        await sleep(edges.clock, discoveryPauseMs, signal);
      }
    }
    return new Map();
  }

  /** Joining and leaving come one after the other. */
  #move(step: () => Promise<void>): Promise<void> {
    this.#moving = this.#moving.then(step).catch((error) => {
      if (!this.#closing.signal.aborted) this.#log.error({ error }, "hosting actors could not change");
    });
    return this.#moving;
  }

  async #join(): Promise<void> {
    const hosted = this.#hosted;
    if (hosted === undefined || this.#isPaused || this.#closing.signal.aborted || this.#cluster.isJoined)
      return;
    const { principal, onReady } = this.#options;
    const { namespace, appId } = principal;
    const types = [...hosted.types.keys()];
    this.#host.open(hosted.types, hosted.app);
    try {
      await this.#cluster.join({ hostId: this.#hostId, namespace, appId, ...this.#options.address() }, types);
    } catch (error) {
      // Somebody who shuts this host out holds its lease for a moment, or the store is away.
      this.#joinLater();
      throw error;
    }
    await this.#reminders.host(types);
    onReady(true);
  }

  async #leave(): Promise<void> {
    if (!this.#cluster.isJoined) return;
    const reminders = this.#reminders.host([]);
    await this.#host.shut();
    // Reminders in hand belong to turns that just ended, or go back when their wait does.
    await Promise.race([reminders, new Promise((resolve) => setTimeout(resolve, closeGraceMs).unref())]);
    await this.#cluster.leave();
    this.#options.onReady(false);
  }

  #lost(): void {
    this.#host.lost();
    this.#options.onReady(false);
    this.#joinLater();
  }

  #joinLater(): void {
    const again = (): void => void this.#move(() => this.#join());
    this.#options.edges.clock.setTimer(rejoinPauseMs, again, { background: true });
  }

  async #order(order: Order, context: OrderContext): Promise<Done> {
    if (this.#closing.signal.aborted) throw errors.ACTOR_RUNTIME_CLOSED();
    if (order.type.startsWith("dapr.internal.")) throw errors.ACTOR_TYPE_RESERVED(order.type);
    return this.#router.run(order, context);
  }

  /** What another host sent here. */
  async #serve(
    message: ActorMessage,
    { caller, ...context }: OrderContext & { caller: PeerCaller },
  ): Promise<ActorMessage> {
    try {
      const order = decodeOrder(message);
      const from = askerOf(order, caller, this.#options.principal);
      if (!this.#admits(order, from)) throw errors.ACCESS_DENIED();
      return encodeResult(await this.#router.once({ ...order, from }, context));
    } catch (error) {
      return encodeFailure(error);
    }
  }

  /** Reminders of the own app are mecha's own doing. */
  #admits({ type, id, work }: Order, from: PeerCaller): boolean {
    const isReminder = work.kind === "remind";
    if (isReminder && appText(from) === appText(this.#options.principal)) return true;
    const method = isReminder ? `remind/${work.reminder.name}` : work.method;
    const headers = isReminder ? [] : work.headers;
    const header = (lowerName: string): string | undefined => headerIn(headers, lowerName);
    return this.#options.authorize(from, { type, id, method, header });
  }

  async #turn(order: Order, { trace, signal }: OrderContext) {
    const config = this.#host.types.get(order.type);
    const chain = config?.reentrancy.isEnabled
      ? (order.reentrancyId ?? this.#options.edges.random.uuid())
      : undefined;
    // Not the caller's signal: a turn lasts until the app has ended it.
    const result = await this.#host.turn(order, chain, signal, (app) =>
      this.#timed(order.type, (ended) => perform(app, order, { reentrancyId: chain, trace, signal: ended })),
    );
    return result.kind === "done" ? result.value : result;
  }

  /** The timeout begins when the actor's lock is had. */
  #timed<T>(type: string, turn: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock } = this.#options.edges;
    const timeoutMs = this.#policy.turnTimeoutMs(type);
    return withinTurn(timeoutMs, this.#closing.signal, turn, (ms, end) => clock.setTimer(ms, end));
  }

  async #fireTimer(timer: ActorTimer): Promise<boolean> {
    if (this.#host.find(timer) === undefined) return false;
    const config = this.#host.types.get(timer.type);
    const chain = config?.reentrancy.isEnabled ? this.#options.edges.random.uuid() : undefined;
    const { signal } = this.#closing;
    const result = await this.#host.turn(timer, chain, signal, (app) =>
      this.#timed(timer.type, (ended) =>
        app.fireTimer(timer, { reentrancyId: chain, trace: undefined, signal: ended }),
      ),
    );
    return result.kind === "done";
  }

  async #remind(reminder: Reminder, signal: AbortSignal): Promise<RemindOutcome> {
    const { type, id, name } = reminder;
    const work = { kind: "remind", reminder } as const;
    const order = { type, id, work, body: new Uint8Array(0), reentrancyId: undefined, hops: 0 };
    try {
      const done = await this.#order(order, { trace: undefined, signal });
      return done.kind === "reminded" && done.cancels ? "cancelled" : "done";
    } catch (error) {
      const isAway = error instanceof Fault && error.code === errors.ACTOR_NO_ADDRESS.code;
      const isUnreachable = ((error as Error).cause as Error | undefined)?.name === "ConnectError";
      if (isAway || isUnreachable) return "away";
      this.#log.warn({ error }, `reminder ${name} of actor ${type}||${id} failed`);
      return "failed";
    }
  }

  #present(actor: ActorRef): ActiveActor {
    const active = this.#host.find(actor);
    if (active === undefined) throw errors.ACTOR_INSTANCE_MISSING();
    return active;
  }

  #requireHosted(type: string): void {
    if (this.#options.channel === undefined && this.#hosted === undefined)
      throw errors.ACTOR_NO_APP_CHANNEL();
    if (type.startsWith("dapr.internal.")) throw errors.ACTOR_TYPE_RESERVED(type);
    if (!this.#host.types.has(type)) throw errors.ACTOR_REMINDER_NON_HOSTED();
  }
}

async function perform(app: ActorApp, order: Order, context: TurnContext): Promise<Done> {
  const { work, body } = order;
  try {
    if (work.kind === "remind") return { kind: "reminded", ...(await app.remind(work.reminder, context)) };
    const { method, headers } = work;
    return { kind: "answer", answer: await app.invoke(order, { method, headers, body }, context) };
  } catch (error) {
    const { signal } = context;
    const why = signal.aborted ? (signal.reason as Error) : (error as Error);
    throw why instanceof Fault ? why : errors.ACTOR_INVOKE(why.message, { cause: why });
  }
}

/** Turns an app's failure into the fault that Dapr makes of it (dapr-api.md §8.4). */
function judged(answer: ActorAnswer): ActorAnswer {
  const { status, isActorError, body } = answer;
  if (isActorError || (status >= 200 && status <= 299)) return answer;
  const cause = new ActorAppFailure(status);
  if (status === 404) throw errors.ACTOR_INVOKE("actor method not found", { cause });
  throw errors.ACTOR_INVOKE(`error from actor service: (${status}) ${shown(body)}`, { cause });
}

/** Strict daprd without a placement address: every call says so. */
export function disabledActors(): ActorsEngine {
  const refuse = async (): Promise<never> => {
    throw errors.ACTOR_NO_PLACEMENT();
  };
  const nothing = async (): Promise<void> => undefined;
  return {
    ...{ invoke: refuse, isHeld: refuse, setTimer: refuse, deleteTimer: refuse, setReminder: refuse },
    ...{ getReminder: refuse, deleteReminder: refuse, listReminders: refuse, deleteReminders: refuse },
    ...{ attach: refuse, start: nothing, pause: nothing, resume: nothing, close: nothing },
    fence() {
      throw errors.ACTOR_NO_PLACEMENT();
    },
    status: () => ({
      status: "disabled",
      activeActors: [],
      isHostReady: false,
      placement: "placement: disconnected",
    }),
  };
}
