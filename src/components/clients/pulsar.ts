import { pause, pauseBefore } from "../../component/pause.ts";
import { NoAnswer } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { askOnce } from "./ask-once.ts";

export interface PulsarSettings {
  host: string;
  tenant: string;
  namespace: string;
  persistent: boolean;
  enableTLS: boolean;
  token: string | undefined;
  timeout: number;
}

/** What Pulsar's WebSocket API says: https://pulsar.apache.org/docs/4.0.x/client-libraries-websocket */
export type PulsarReply = Readonly<Record<string, unknown>>;

const closeMs = 1_000;
const pingBytesMax = 1 << 20;
const firstPauseMs = 100;
const pauseMaxMs = 3_000;

/** Where the WebSocket API is. Throws for the address of the binary protocol, which is another port. */
export function pulsarAddress({ host, enableTLS }: Pick<PulsarSettings, "host" | "enableTLS">): string {
  const hasScheme = /^[a-z+]+:\/\//i.test(host);
  let url: URL;
  try {
    url = new URL(hasScheme ? host : `${enableTLS ? "wss" : "ws"}://${host}`);
  } catch (error) {
    throw new Error("host is no address", { cause: error });
  }
  const other = "give the broker's web port (8080) and set its webSocketServiceEnabled";
  if (url.protocol.startsWith("pulsar")) {
    throw new Error(`host begins with ${url.protocol}//, the binary protocol: ${other}`);
  }
  if (url.port === "6650" || url.port === "6651") {
    throw new Error(`host has the port ${url.port}, that of the binary protocol: ${other}`);
  }
  const isSecure = url.protocol === "wss:" || url.protocol === "https:";
  if (!isSecure && url.protocol !== "ws:" && url.protocol !== "http:") {
    throw new Error(`host begins with ${url.protocol}//, not with ws://, wss://, http:// or https://`);
  }
  if (enableTLS && !isSecure) throw new Error(`enableTLS is true, and host begins with ${url.protocol}//`);
  return `${isSecure ? "wss" : "ws"}://${url.host}`;
}

/** Connections to one Pulsar, each for a producer or a consumer. */
export class PulsarLink {
  readonly #address: string;
  readonly #settings: PulsarSettings;
  readonly #edges: Edges;
  readonly #closed = new AbortController();

  constructor(settings: PulsarSettings, edges: Edges) {
    this.#address = pulsarAddress(settings);
    this.#settings = settings;
    this.#edges = edges;
  }

  /** `host:port`, for messages. */
  get where(): string {
    return new URL(this.#address).host;
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  get edges(): Edges {
    return this.#edges;
  }

  get timeoutMs(): number {
    return this.#settings.timeout;
  }

  get #headers(): Record<string, string> {
    const { token } = this.#settings;
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /** `rest` follows the topic; a topic may have any characters. */
  async connect(
    role: "producer" | "consumer",
    topic: string,
    { rest = "", parameters }: { rest?: string; parameters: Record<string, string> },
  ): Promise<PulsarSocket> {
    const { persistent, tenant, namespace, timeout } = this.#settings;
    const parts = [persistent ? "persistent" : "non-persistent", tenant, namespace, topic, rest];
    const path = parts.filter(Boolean).map(encodeURIComponent).join("/");
    const url = `${this.#address}/ws/v2/${role}/${path}?${new URLSearchParams(parameters)}`;
    const socket = new PulsarSocket(new WebSocket(url, { headers: this.#headers }), this.#edges);
    const timer = this.#edges.clock.setTimer(timeout, () =>
      socket.drop(new NoAnswer(`no answer within ${timeout} ms`)),
    );
    try {
      await socket.opened;
      return socket;
    } finally {
      timer.cancel();
    }
  }

  /** Asks the web port for the clusters: who only serves WebSockets has no such list, and answers 404. */
  async ping(): Promise<void> {
    const { timeout: timeoutMs } = this.#settings;
    const url = `${this.#address.replace("ws", "http")}/admin/v2/clusters`;
    const question = { timeoutMs, clock: this.#edges.clock, headers: this.#headers };
    const { status, text } = await askOnce(url, question, pingBytesMax);
    if (status === 200 || status === 404) return;
    throw new Error(`pulsar at ${this.where} answered ${status}: ${text.slice(0, 200)}`);
  }

  pauseMs(tries: number): number {
    const maxMs = Math.min(pauseMaxMs, this.#settings.timeout);
    return pauseBefore(tries, { firstMs: firstPauseMs, maxMs, random: this.#edges.random });
  }

  /** Ends early when the signal says so. */
  pause(ms: number, signal = this.closed): Promise<void> {
    return pause(this.#edges.clock, ms, signal);
  }

  close(): void {
    this.#closed.abort();
  }
}

/** One connection: JSON both ways. */
export class PulsarSocket {
  readonly opened: Promise<void>;
  /** With the reason. Never rejects. */
  readonly ended: Promise<Error>;
  #told: (reply: PulsarReply) => void = () => {};
  readonly #socket: WebSocket;
  readonly #edges: Edges;
  readonly #end = Promise.withResolvers<Error>();
  #heardAtMs: number;

  constructor(socket: WebSocket, edges: Edges) {
    this.#socket = socket;
    this.#edges = edges;
    this.#heardAtMs = edges.clock.monotonicMs();
    this.ended = this.#end.promise;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.opened = promise;
    void this.ended.then(reject);
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("message", ({ data }) => this.#hear(String(data)));
    socket.addEventListener("error", (event) => {
      const { message } = event as unknown as { message?: string };
      this.#end.resolve(new Error(message || "the connection failed"));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.#end.resolve(new Error(reason ? `${reason} (${code})` : `the connection was closed (${code})`));
    });
  }

  /** Since when it has been silent. */
  get silentMs(): number {
    return this.#edges.clock.monotonicMs() - this.#heardAtMs;
  }

  onReply(told: (reply: PulsarReply) => void): void {
    this.#told = told;
  }

  send(message: unknown): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** At once, and without a word. */
  drop(reason: Error): void {
    this.#end.resolve(reason);
    this.#socket.terminate();
  }

  /** As the protocol has it, or after a moment without. What was sent before is heard before. */
  async close(): Promise<void> {
    const timer = this.#edges.clock.setTimer(closeMs, () => this.drop(new Error("closed")));
    this.#socket.close(1000);
    await this.ended;
    timer.cancel();
    this.#socket.terminate();
  }

  #hear(text: string): void {
    this.#heardAtMs = this.#edges.clock.monotonicMs();
    let reply: unknown;
    try {
      reply = JSON.parse(text);
    } catch {
      this.drop(new Error("what came is no JSON"));
      return;
    }
    if (typeof reply === "object" && reply !== null) this.#told(reply as PulsarReply);
  }
}
