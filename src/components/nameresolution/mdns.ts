import { randomBytes } from "node:crypto";
import os from "node:os";
import type { Answer, Packet, Question } from "dns-packet";
import { component } from "../../component/component.ts";
import { duration, list, number } from "../../component/fields.ts";
import {
  type AnnouncedRuntime,
  type Announcement,
  type FoundAddress,
  isNamePart,
  type NameResolver,
  type WantedApp,
} from "../../component/name-resolver.ts";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import {
  isAskedFor,
  isLoopback,
  MdnsLink,
  type MdnsService,
  type PacketSource,
  recordsOf,
  servicesIn,
} from "../clients/mdns.ts";

const standardPort = 5353;

export default component({
  type: "nameresolution.mdns",
  version: "v1",
  status: "beta",
  summary: "Multicast DNS: runtimes of one local network ask each other",
  package: "dns-packet",
  metadata: {
    interfaces: list({
      description:
        "IPv4 addresses of the interfaces that are asked in; by default all of this machine. mecha's",
    }),
    port: number({ description: "UDP port; mecha's", default: standardPort, min: 1, max: 65_535 }),
    ttl: duration({
      description: "a runtime that has not been heard of for so long is gone; whole seconds; mecha's",
      default: 30_000,
      min: 1_000,
      max: 3_600_000,
    }),
  },
  async open({ interfaces, port, ttl }, { edges, log }): Promise<NameResolver> {
    if (ttl % 1000 !== 0) throw new Error("ttl must not have fractions of seconds");
    const { clock } = edges;
    const found = new MdnsNames({ clock, log, ttlMs: ttl });
    await found.open({ port, interfaces: interfaces?.length ? interfaces : ownAddresses() });
    return found;
  },
});

/**
 * Runtimes are services of this type, and of a subtype for their app (RFC 6763 §7.1). daprds, which can not be called,
 * ask for `APP.local`: neither finds the other.
 */
const serviceType = "_mecha._tcp.local";
/** Of a label without the subtype's underline. */
const idCharsMax = 62;
const freshMs = 1000;
/** Answers of a local network come in some milliseconds. */
const askMs = 250;
/** When a question that nobody has answered is asked again. */
const againMs = [60, 140];
/** Answers that others have asked for too are sent once; so long they wait for each other. */
const gatherMs = 10;
const announcementsPerTtl = 3;
/** Of everybody's that are remembered: anybody may announce anything. */
const instancesMax = 10_000;

interface Heard {
  host: string;
  port: number;
  expiresAtMs: number;
}

class MdnsNames implements NameResolver {
  readonly freshMs = freshMs;
  readonly reach = "network";
  readonly #parts: { clock: Clock; log: Log; ttlMs: number };
  /** By app and instance. */
  readonly #heard = new Map<string, Map<string, Heard>>();
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #own = new Set<OwnService>();
  #link!: MdnsLink;
  #count = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(parts: { clock: Clock; log: Log; ttlMs: number }) {
    this.#parts = parts;
  }

  async open({ interfaces, port }: { interfaces: readonly string[]; port: number }): Promise<void> {
    const onPacket = (packet: Packet, from: PacketSource): void => this.#hear(packet, from);
    const onError = (error: Error): void => this.#tell(error);
    this.#link = await MdnsLink.open({ interfaces, port, onPacket, onError });
  }

  async find({ appId, namespace }: WantedApp): Promise<readonly FoundAddress[]> {
    if (!mayBeName(appId)) return [];
    const app = keyOf(appId, namespace);
    const known = this.#living(app);
    if (known.length > 0) return known;
    await this.#ask(app, subtypeOf(appId));
    return this.#living(app);
  }

  async announce(self: AnnouncedRuntime): Promise<Announcement> {
    if (!mayBeName(self.appId)) {
      throw new Error(`${self.appId} can not be a name: letters, digits, - and _, at most ${idCharsMax}`);
    }
    const service = new OwnService(self, { ...this.#parts, link: this.#link });
    this.#own.add(service);
    service.open();
    return {
      close: async () => {
        if (this.#own.delete(service)) service.close();
      },
    };
  }

  async close(): Promise<void> {
    for (const service of this.#own) service.close();
    this.#own.clear();
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake();
    await this.#link.close();
  }

  #living(app: string): FoundAddress[] {
    const nowMs = this.#parts.clock.now();
    const byAddress = new Map<string, FoundAddress>();
    for (const { host, port, expiresAtMs } of this.#heard.get(app)?.values() ?? []) {
      const known = byAddress.get(`${host} ${port}`)?.expiresAtMs ?? 0;
      if (expiresAtMs > nowMs && expiresAtMs > known)
        byAddress.set(`${host} ${port}`, { host, port, expiresAtMs });
    }
    return [...byAddress.keys()].sort().map((key) => byAddress.get(key) as FoundAddress);
  }

  /** Asks the network, more than once as datagrams may be lost, and waits for the first who answers. */
  #ask(app: string, subtype: string): Promise<void> {
    const { clock } = this.#parts;
    const say = (): void => this.#link.send({ type: "query", questions: [{ type: "PTR", name: subtype }] });
    say();
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(app) ?? new Set();
      this.#waiting.set(app, waiting);
      const wake = (): void => {
        for (const timer of timers) timer.cancel();
        waiting.delete(wake);
        if (waiting.size === 0) this.#waiting.delete(app);
        resolve();
      };
      const timers = [...againMs.map((ms) => clock.setTimer(ms, say)), clock.setTimer(askMs, wake)];
      waiting.add(wake);
    });
  }

  #hear(packet: Packet, from: PacketSource): void {
    if (packet.type === "query") {
      for (const question of packet.questions ?? []) this.#answer(question, packet, from);
      return;
    }
    for (const service of servicesIn(packet, serviceType)) {
      const { app, ns } = Object.fromEntries(service.texts.map((text) => text.split(/=(.*)/s)));
      if (app !== undefined && mayBeName(app) && ns !== undefined) this.#remember(keyOf(app, ns), service);
    }
  }

  #answer(question: Question, { id }: Packet, from: PacketSource): void {
    for (const service of this.#own) {
      if (!service.isAskedFor(question)) continue;
      if (from.port === this.#link.port) service.answerSoon();
      else service.answerTo(from, { id, question });
    }
  }

  #remember(app: string, { instance, host, port, ttlMs }: MdnsService): void {
    const instances = this.#heard.get(app) ?? new Map<string, Heard>();
    if (instances.delete(instance)) this.#count--;
    if (ttlMs > 0 && this.#count < instancesMax) {
      this.#count++;
      const lifeMs = Math.min(ttlMs, ttlMaxMs);
      instances.set(instance, { host, port, expiresAtMs: this.#parts.clock.now() + lifeMs });
      this.#heard.set(app, instances);
    } else if (this.#count >= instancesMax) this.#forgetDead();
    if (instances.size === 0) this.#heard.delete(app);
    for (const wake of this.#waiting.get(app) ?? []) wake();
  }

  #forgetDead(): void {
    const nowMs = this.#parts.clock.now();
    for (const [app, instances] of this.#heard) {
      for (const [instance, { expiresAtMs }] of instances) {
        if (expiresAtMs <= nowMs && instances.delete(instance)) this.#count--;
      }
      if (instances.size === 0) this.#heard.delete(app);
    }
  }

  /** An interface that is away fails with each packet. */
  #tell(error: Error): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#toldMs < logEveryMs) return;
    this.#toldMs = nowMs;
    this.#parts.log.warn({ error }, "multicast DNS failed on an interface");
  }
}

const logEveryMs = 60_000;
const ttlMaxMs = 3_600_000;

/** This runtime, told of again and again, and whenever somebody asks. */
class OwnService {
  readonly #parts: { clock: Clock; ttlMs: number; link: MdnsLink };
  readonly #service: MdnsService;
  readonly #subtype: string;
  readonly #records: Answer[];
  #timer: ClockTimer | undefined;
  #answer: ClockTimer | undefined;

  constructor(
    { host, port, appId, namespace }: AnnouncedRuntime,
    parts: { clock: Clock; ttlMs: number; link: MdnsLink },
  ) {
    this.#parts = parts;
    this.#subtype = subtypeOf(appId);
    const unique = randomBytes(8).toString("hex");
    const instance = `${appId.slice(0, idCharsMax - unique.length)}-${unique}.${serviceType}`;
    const texts = [`app=${appId}`, `ns=${namespace}`];
    this.#service = { instance, host, port, texts, ttlMs: parts.ttlMs };
    this.#records = recordsOf(serviceType, this.#subtype, this.#service);
  }

  isAskedFor(question: Question): boolean {
    return isAskedFor(question, this.#records);
  }

  open(): void {
    this.#send(this.#records);
    const again = (): void => {
      this.#send(this.#records);
      this.#timer = clock.setTimer(pauseMs, again, { background: true });
    };
    const { clock, ttlMs } = this.#parts;
    const pauseMs = ttlMs / announcementsPerTtl;
    // The first packet may be lost: the next comes soon (RFC 6762 §8.3).
    this.#timer = clock.setTimer(Math.min(pauseMs, 1000), again, { background: true });
  }

  close(): void {
    this.#timer?.cancel();
    this.#answer?.cancel();
    this.#send(recordsOf(serviceType, this.#subtype, { ...this.#service, ttlMs: 0 }));
  }

  answerSoon(): void {
    this.#answer ??= this.#parts.clock.setTimer(gatherMs, () => {
      this.#answer = undefined;
      this.#send(this.#records);
    });
  }

  /** A resolver that speaks plain DNS wants its question and number back (RFC 6762 §6.7). */
  answerTo(from: PacketSource, { id = 0, question }: { id: number | undefined; question: Question }): void {
    const answers = this.#records;
    this.#parts.link.sendTo(from, {
      type: "response",
      id,
      flags: authoritative,
      questions: [question],
      answers,
    });
  }

  #send(answers: Answer[]): void {
    const isLocal = isLoopback(this.#service.host);
    this.#parts.link.send({ type: "response", flags: authoritative, answers }, { isLocal });
  }
}

const authoritative = 1 << 10;

function mayBeName(appId: string): boolean {
  return isNamePart(appId) && appId.length <= idCharsMax;
}

function subtypeOf(appId: string): string {
  return `_${appId}._sub.${serviceType}`;
}

function keyOf(appId: string, namespace: string): string {
  return `${appId}.${namespace}`;
}

function ownAddresses(): string[] {
  return Object.values(os.networkInterfaces()).flatMap((addresses = []) =>
    addresses.flatMap(({ family, address }) => (family === "IPv4" ? [address] : [])),
  );
}
