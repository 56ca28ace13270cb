// Half a minute without a network for many components at once, then a reset each three seconds, while all of them are
// written to (reliability.md §4.6). The suites of each have shorter faults, and more of them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { until } from "../../src/testing/index.ts";
import { subscription } from "../contract/pubsub.ts";
import { put, textAt } from "../contract/state.ts";
import { answered } from "./answered.ts";
import { backMs } from "./back-within.ts";
import { openSockets } from "./open-sockets.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const holeMs = 30_000;
const resetEachMs = 3_000;
const writers = 4;
const crowd = 500;
const grownBytesMax = 256 << 20;

export interface CutOffServer {
  server: { port: number };
  /** A component that reaches the server by this port, with timeouts of about a second. */
  open(port: number): Promise<StateStore | PubSub>;
  /** The port that the proxy has to have, for brokers that announce their address. */
  proxyPort?: number;
  stop(): Promise<void>;
}

interface Sent {
  writer: string;
  number: number;
}

/** One component behind its proxy, and those who write to it: one thing after the other each. */
class Subject {
  done = 0;
  /** Calls that failed as they may. */
  failed = 0;
  /** Failures that are not typed. */
  readonly wrong: string[] = [];
  readonly proxy: TcpProxy;
  readonly #component: StateStore | PubSub;
  readonly #acknowledged: Sent[] = [];
  readonly #delivered = new Set<string>();
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();

  private constructor(proxy: TcpProxy, component: StateStore | PubSub) {
    this.proxy = proxy;
    this.#component = component;
  }

  static async before({ server, proxyPort, open }: CutOffServer): Promise<Subject> {
    const proxy = await TcpProxy.before(server.port, { port: proxyPort });
    const subject = new Subject(proxy, await answered(() => open(proxy.port)));
    await subject.#begin();
    return subject;
  }

  /** Many more, who call once. */
  async crowd(): Promise<void> {
    const filling = "x".repeat(4_000);
    const sent = Array.from({ length: crowd }, (_, number) =>
      this.#send({ writer: "crowd", number }, filling),
    );
    for (const result of await Promise.allSettled(sent)) {
      if (result.status === "rejected") this.#fail(result.reason);
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  /** What was acknowledged and is not there. */
  async lost(): Promise<Sent[]> {
    const component = this.#component;
    if ("subscribe" in component) {
      return this.#acknowledged.filter(({ writer, number }) => !this.#delivered.has(`${writer}:${number}`));
    }
    const last = new Map(this.#acknowledged.map((sent) => [sent.writer, sent]));
    const kept = async ({ writer }: Sent) => Number((await answered(() => textAt(component, writer))) ?? 0);
    const found = await Promise.all(
      [...last.values()].map(async (sent) => ({ sent, kept: await kept(sent) })),
    );
    return found.filter((one) => one.kept < one.sent.number).map((one) => one.sent);
  }

  async close(): Promise<void> {
    await this.#component.close();
    await this.proxy.close();
  }

  async #begin(): Promise<void> {
    const component = this.#component;
    if ("subscribe" in component) {
      const request = subscription({ topic: "half-minute", consumerGroup: "all" });
      const handler = async ({ data }: { data: Uint8Array }) =>
        void this.#delivered.add(Buffer.from(data).toString());
      await answered(() => component.subscribe(request, handler));
    }
    this.#running = Promise.all(Array.from({ length: writers }, (_, index) => this.#write(`w${index}`)));
  }

  async #write(writer: string): Promise<void> {
    for (let number = 1; !this.#isOver; number++) {
      try {
        await this.#send({ writer, number });
        this.#acknowledged.push({ writer, number });
        this.done++;
      } catch (error) {
        this.#fail(error);
      }
      await new Promise((next) => setTimeout(next, 10));
    }
  }

  #send({ writer, number }: Sent, filling = ""): Promise<void> {
    const component = this.#component;
    if (!("subscribe" in component)) return component.set(put(writer, `${number}${filling}`));
    const data = Buffer.from(`${writer}:${number}${filling}`);
    return component.publish({ topic: "half-minute", data, contentType: "", metadata: {} });
  }

  #fail(error: unknown): void {
    if (error instanceof ServerUnavailable) this.failed++;
    else this.wrong.push(String(error));
  }
}

/** What came of it for one component. */
interface Outcome {
  /** Calls that ended while nothing came through. */
  failedInTheHole: number;
  /** After the network was back; absent: it never was. */
  backMs?: number | undefined;
  resetsSurvived: number;
}

/** Runs the suite for all of them together. */
export function halfMinute(starts: Record<string, () => Promise<CutOffServer>>): void {
  const names = Object.keys(starts);
  describe("half a minute without a network, then a reset each three seconds", () => {
    const running = new Map<string, CutOffServer>();
    const subjects = new Map<string, Subject>();
    const outcomes = new Map<string, Outcome>();
    let socketsBefore = 0;
    let grownBytes = 0;

    const each = (work: (subject: Subject, outcome: Outcome) => Promise<void>) =>
      Promise.all(
        [...subjects].map(([name, subject]) => {
          const outcome = outcomes.get(name) ?? { failedInTheHole: 0, resetsSurvived: 0 };
          outcomes.set(name, outcome);
          return work(subject, outcome);
        }),
      );
    const goesOn = async (subject: Subject): Promise<boolean> => {
      const { done } = subject;
      return until(() => subject.done > done, "it is back", backMs).then(
        () => true,
        () => false,
      );
    };

    beforeAll(async () => {
      await Promise.all(
        names.map(
          async (name) => void running.set(name, await (starts[name] as () => Promise<CutOffServer>)()),
        ),
      );
      socketsBefore = openSockets();
      for (const [name, server] of running) subjects.set(name, await Subject.before(server));
      await each(async (subject) => void (await until(() => subject.done > 20, "it goes", 60_000)));
      await blackHole();
      await resets();
      await each((subject) => subject.end());
    }, 300_000);
    afterAll(async () => {
      for (const subject of subjects.values()) await subject.close();
      await Promise.all([...running.values()].map((server) => server.stop()));
    }, 120_000);

    const blackHole = async (): Promise<void> => {
      const rssBefore = process.memoryUsage.rss();
      await each(async (subject) => subject.proxy.set({ blackHole: true }));
      const crowds = each((subject) => subject.crowd());
      for (const startMs = performance.now(); performance.now() - startMs < holeMs; ) {
        await new Promise((done) => setTimeout(done, 250));
        grownBytes = Math.max(grownBytes, process.memoryUsage.rss() - rssBefore);
      }
      await each(async (subject, outcome) => {
        outcome.failedInTheHole = subject.failed;
      });
      await each(async (subject) => subject.proxy.set({}));
      const healedMs = performance.now();
      await each(async (subject, outcome) => {
        if (await goesOn(subject)) outcome.backMs = Math.round(performance.now() - healedMs);
      });
      await crowds;
    };
    const resets = async (): Promise<void> => {
      for (let reset = 0; reset < 3; reset++) {
        await new Promise((done) => setTimeout(done, resetEachMs));
        await each(async (subject) => subject.proxy.reset());
        await each(async (subject, outcome) => {
          if (await goesOn(subject)) outcome.resetsSurvived++;
        });
      }
    };

    test.each(names)(
      "%s: typed errors in time, back soon, nothing acknowledged lost",
      async (name) => {
        const subject = subjects.get(name) as Subject;
        const outcome = outcomes.get(name) as Outcome;
        console.log(`${name}: ${subject.done} done, ${subject.failed} failed, ${JSON.stringify(outcome)}`);
        expect(subject.wrong).toEqual([]);
        // Every writer heard of it again and again, and the crowd once each.
        expect(outcome.failedInTheHole).toBeGreaterThanOrEqual(crowd + 3 * writers);
        expect(outcome.backMs, "it was not back").toBeDefined();
        expect(outcome.resetsSurvived).toBe(3);
        await until(async () => (await subject.lost()).length === 0, "all is there", 30_000).catch(
          () => undefined,
        );
        expect(await subject.lost()).toEqual([]);
      },
      60_000,
    );

    test("what waits for the network is bounded", () => {
      console.log(`${Math.round(grownBytes / 2 ** 20)} MB more at most, for ${names.length} components`);
      expect(grownBytes).toBeLessThan(grownBytesMax);
    });

    test("no socket is left", async () => {
      for (const subject of subjects.values()) await subject.close();
      subjects.clear();
      await until(() => openSockets() <= socketsBefore + 2, "the sockets are closed", 20_000);
    }, 60_000);
  });
}
