// A plain HTTP app that says what should happen. It keeps nothing: all it knows it reads from the runtime's state.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const effectsType = "application/vnd.mecha.effects+json";
const lanes = 3;

/** Effects that reached the app, by what identifies them; a repetition has the same identity. */
export class Shop {
  readonly effects = new Set<string>();
  readonly #server: Server;
  #runtime = "";

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.writeHead(500).end());
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where its runtime is. */
  connect(runtime: string): void {
    this.#runtime = runtime;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    let text = "";
    for await (const chunk of request) text += chunk;
    if (path === "/dapr/subscribe") return json(response, subscriptions);
    if (path.startsWith("/dapr/")) return void response.writeHead(404).end();
    if (path.startsWith("/job/")) {
      this.effects.add(`job ${path.slice(5)}`);
      return void response.writeHead(200).end();
    }
    const body = JSON.parse(text) as { id: string; data: { n: string }; n: string };
    if (path === "/order") return answer(response, await this.#order(body.n));
    if (path === "/paid") return answer(response, await this.#order(body.data.n));
    if (path === "/accepted") {
      this.effects.add(`event ${body.id} ${body.data.n}`);
      return answer(response, { state: [await this.#more(`accepted-${body.data.n}`)] });
    }
    this.effects.add(`call ${request.headers["idempotency-key"]} ${body.n}`);
    return answer(response, { state: [await this.#more(`mailed-${body.n}`)] });
  }

  async #order(n: string) {
    return {
      state: [await this.#more(`order-${n}`), await this.#more(`lane-${laneOf(n)}`)],
      publish: [{ topic: "accepted", data: { n } }],
      schedule: [{ name: `ship-${n}`, dueTime: "1ms" }],
      call: [{ to: "app://shop/mail", body: { n } }],
      reply: { body: { n } },
    };
  }

  /** One more than what is stored: wrong at once when a handler's effects are applied twice, or not at all. */
  async #more(key: string) {
    const read = await fetch(`${this.#runtime}/v1.0/state/statestore/${key}`);
    if (!read.ok) throw new Error(`${key}: ${read.status}`);
    if (read.status === 204) return { key, value: 1, concurrency: "first-write" };
    return { key, value: ((await read.json()) as number) + 1, etag: read.headers.get("etag") };
  }
}

export function laneOf(n: string): number {
  return Number(n.replace(/\D/g, "")) % lanes;
}

const subscriptions = [
  { pubsubname: "pubsub", topic: "paid", route: "/paid" },
  { pubsubname: "pubsub", topic: "accepted", route: "/accepted" },
];

function answer(response: ServerResponse, effects: object): void {
  response.writeHead(200, { "content-type": effectsType }).end(JSON.stringify(effects));
}

function json(response: ServerResponse, value: object): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}
