import type { Binding, BindingEvent } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { choice, duration, list, number, type Options, quantity, text } from "../../component/fields.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { BodyTooLarge } from "../../net/http1/errors.ts";
import { createHttpServer, type HttpServer } from "../../net/http1/server.ts";
import type { HttpReply, HttpRequest } from "../../net/http1/types.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { goodSignature, type SignatureRule } from "../clients/webhook-signature.ts";

const fields = {
  port: number({
    description: "port that the binding listens on, its own; one component each",
    required: true,
    min: 1,
    max: 65_535,
  }),
  host: text({ description: "address that it listens on", default: "127.0.0.1" }),
  path: text({ description: "path of the requests; by default the component's name" }),
  signature: choice(["github", "stripe", "header", "none"], {
    description:
      "how requests are signed with HMAC-SHA256: as GitHub does (X-Hub-Signature-256), as Stripe does (Stripe-Signature, with its time), by signatureHeader, or not at all",
    required: true,
  }),
  secret: text({
    description: "secret shared with the sender; needed unless signature is none",
    sensitive: true,
  }),
  previousSecret: text({ description: "is good too, while the sender's is changed", sensitive: true }),
  signatureHeader: text({ description: "with signature header: its name", default: "X-Signature" }),
  signaturePrefix: text({ description: "with signature header: what stands before it", default: "" }),
  signatureEncoding: choice(["hex", "base64"], {
    description: "with signature header: how it is written",
    default: "hex",
  }),
  timestampHeader: text({
    description: "with signature header: header of the time in seconds; signed is then time.body",
  }),
  tolerance: duration({
    description: "how far the time of a signature may be from now",
    default: 300_000,
    min: 1_000,
    max: 3_600_000,
  }),
  replayWindow: duration({
    description: "a request that was taken is not delivered again within this time; 0: it is",
    default: 600_000,
    min: 0,
    max: 86_400_000,
  }),
  headers: list({ description: "headers that the app gets too, besides those of GitHub", default: [] }),
  maxBodySize: quantity({ description: "largest body", default: 1 << 20, min: 1, max: 64 << 20 }),
  concurrency: number({
    description: "requests at work at most; more get 503",
    default: 64,
    min: 1,
    max: 1_000,
  }),
  timeout: duration({
    description: "longest wait for the app; then the sender gets 504",
    default: 30_000,
    min: 100,
    max: 600_000,
  }),
};

export default component({
  type: "bindings.webhook",
  version: "v1",
  status: "beta",
  summary: "Signed requests of others to a port of its own: signatures, times, sizes and replays are checked",
  metadata: fields,
  async open(options, { name, edges, log }): Promise<Binding> {
    const path = `/${(options.path ?? name).replace(/^\/+/, "")}`;
    if (/[?#\s]/.test(path)) throw new Error(`path ${JSON.stringify(path)} is no path`);
    return new Webhook({ ...options, path, name }, ruleOf(options), { edges, log });
  },
});

type Settings = Options<typeof fields> & { path: string; name: string };
type Handler = (event: BindingEvent) => Promise<Uint8Array | undefined>;

const headerOf = { github: "X-Hub-Signature-256", stripe: "Stripe-Signature" };
const githubHeaders = ["x-github-event", "x-github-delivery", "x-github-hook-id"];
const retryMs = 1_000;
const graceMs = 2_000;
const takenMax = 10_000;
const connectionsMax = 1_000;
const stallMs = 30_000;

function ruleOf(options: Options<typeof fields>): SignatureRule | undefined {
  const { signature, secret, previousSecret, timestampHeader, tolerance: toleranceMs } = options;
  if (signature === "none") {
    if (secret || previousSecret)
      throw new Error("signature none has no secret: say how requests are signed");
    return undefined;
  }
  if (!secret) throw new Error(`secret is missing: signature ${signature} needs one`);
  const secrets = previousSecret ? [secret, previousSecret] : [secret];
  if (signature !== "header") {
    const header = headerOf[signature];
    const fixed = { prefix: "sha256=", encoding: "hex", timestampHeader: undefined } as const;
    return { kind: signature, secrets, header, toleranceMs, ...fixed };
  }
  const { signatureHeader: header, signaturePrefix: prefix, signatureEncoding: encoding } = options;
  return { kind: "header", secrets, header, prefix, encoding, timestampHeader, toleranceMs };
}

class Webhook implements Binding {
  readonly #settings: Settings;
  readonly #rule: SignatureRule | undefined;
  readonly #edges: Edges;
  readonly #log: Log;
  readonly #passed: readonly string[];
  readonly #taken: TakenRequests;
  #handler: Handler = async () => undefined;
  #server: HttpServer | undefined;
  #retry: { cancel(): void } | undefined;
  #atWork = 0;
  #hasTold = false;

  constructor(
    settings: Settings,
    rule: SignatureRule | undefined,
    { edges, log }: { edges: Edges; log: Log },
  ) {
    this.#settings = settings;
    this.#rule = rule;
    this.#edges = edges;
    this.#log = log;
    const asked = settings.headers.map((name) => name.toLowerCase());
    this.#passed = settings.signature === "github" ? [...githubHeaders, ...asked] : asked;
    this.#taken = new TakenRequests(settings.replayWindow);
  }

  async read(handler: Handler): Promise<void> {
    this.#handler = handler;
    this.#server = createHttpServer({
      handler: (request) => this.#serve(request),
      ...{ sockets: this.#edges.sockets, maxConnections: connectionsMax, stallTimeoutMs: stallMs },
      onHandlerError: (error) => this.#log.error({ error }, "a webhook's handler failed"),
    });
    await this.#listen(this.#server);
  }

  async close(): Promise<void> {
    this.#retry?.cancel();
    const server = this.#server;
    this.#server = undefined;
    await server?.close({ graceMs });
  }

  /** The port may be that of the component before this one, or of another runtime: then it is tried again. */
  async #listen(server: HttpServer): Promise<void> {
    const { host, port, path, name } = this.#settings;
    try {
      await server.listen({ host, port });
      this.#log.info({}, `webhook ${name} listens on http://${host}:${port}${path}`);
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
      if (!this.#hasTold) this.#log.warn({}, `webhook ${name}: port ${port} is taken; it is tried again`);
      this.#hasTold = true;
      const again = (): void => {
        if (this.#server !== server) return;
        this.#listen(server).catch((reason) =>
          this.#log.error({ error: reason }, `webhook ${name} does not listen`),
        );
      };
      this.#retry = this.#edges.clock.setTimer(retryMs, again, { background: true });
    }
  }

  async #serve(request: HttpRequest): Promise<HttpReply> {
    const { path, maxBodySize, concurrency } = this.#settings;
    if (request.target.split("?", 1)[0] !== path) return answer(404);
    if (request.method !== "POST") return answer(405, ["Allow", "POST"]);
    if ((request.body.size ?? 0) > maxBodySize) return answer(413);
    if (this.#atWork >= concurrency) return answer(503, ["Retry-After", "1"]);
    this.#atWork++;
    try {
      const body = await request.body.bytes(maxBodySize);
      return await this.#take(request, body);
    } catch (error) {
      if (error instanceof BodyTooLarge) return answer(413);
      throw error;
    } finally {
      this.#atWork--;
    }
  }

  async #take(request: HttpRequest, body: Uint8Array): Promise<HttpReply> {
    const nowMs = this.#edges.clock.now();
    if (this.#rule === undefined) return this.#deliver(request, body);
    const signature = goodSignature(this.#rule, { header: (name) => request.header(name), body }, nowMs);
    // Nobody is told which part was wrong.
    if (signature === undefined) return answer(401);
    return this.#taken.once(signature, nowMs, () => this.#deliver(request, body));
  }

  async #deliver(request: HttpRequest, data: Uint8Array): Promise<HttpReply> {
    const metadata: Record<string, string> = {};
    for (const name of this.#passed) {
      const value = request.header(name);
      if (value !== undefined) metadata[name] = value;
    }
    const contentType = request.header("content-type");
    const event = { data, metadata, ...(contentType && { contentType }) };
    try {
      const { timeout } = this.#settings;
      const reply = await withinTime(this.#edges.clock, timeout, this.#handler(event));
      if (reply === undefined || reply.length === 0) return answer(200);
      return { status: 200, headers: ["Content-Type", "application/json"], body: reply };
    } catch (error) {
      // Why is in the log of the delivery; the sender tries again.
      return answer(error instanceof NoAnswer ? 504 : 500);
    }
  }
}

/** Requests that were taken, by their signature: who sends one again gets its answer, and the app does not get it. */
class TakenRequests {
  readonly #windowMs: number;
  readonly #replies = new Map<string, { endMs: number; reply: Promise<HttpReply> }>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  async once(signature: string, nowMs: number, take: () => Promise<HttpReply>): Promise<HttpReply> {
    if (this.#windowMs === 0) return take();
    this.#forget(nowMs);
    const known = this.#replies.get(signature);
    if (known !== undefined) {
      const { status } = await known.reply;
      return answer(status);
    }
    const reply = take();
    this.#replies.set(signature, { endMs: nowMs + this.#windowMs, reply });
    const { status } = await reply;
    // One that failed may come again.
    if (status !== 200) this.#replies.delete(signature);
    return reply;
  }

  /** The oldest are first. */
  #forget(nowMs: number): void {
    for (const [signature, { endMs }] of this.#replies) {
      if (endMs > nowMs && this.#replies.size < takenMax) return;
      this.#replies.delete(signature);
    }
  }
}

function answer(status: number, headers: string[] = []): HttpReply {
  return { status, headers: [...headers, "Content-Length", "0"] };
}
