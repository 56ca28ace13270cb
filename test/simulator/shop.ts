import type { AppChannel, AppHttpRequest, AppHttpResponse } from "../../src/app/channel.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import type { Random } from "../../src/edges/random.ts";
import { effectsType } from "../../src/engine/pubsub/content-type.ts";
import type { Body } from "../../src/net/http1/types.ts";
import { between, type SimulatedHost } from "./host.ts";

const lanes = 2;

/** A handler that says what should happen. It keeps nothing: all it knows it reads from the state. */
export class Shop {
  /** Effects that reached somebody, by what identifies them; a repetition has the same identity. */
  readonly effects = new Set<string>();

  async handle({ target, headers, body }: AppHttpRequest, state: StateStore): Promise<object> {
    const bytes = body instanceof Uint8Array ? body : await (body as Body).bytes(1 << 20);
    const text = Buffer.from(bytes).toString();
    const asked = JSON.parse(text) as { n: string; id: string; data: { n: string } };
    const n = target === "/paid" || target === "/accepted" ? asked.data.n : asked.n;
    const more = (...names: string[]) => Promise.all(names.map((name) => oneMore(state, name)));
    if (target === "/order" || target === "/paid") {
      return {
        state: await more(`order-${n}`, `lane-${laneOf(n)}`),
        publish: [{ topic: "accepted", data: { n } }],
        schedule: [{ name: `ship-${n}`, dueTime: "1ms" }],
        call: [{ to: "app://shop/mail", body: { n } }],
        reply: { body: { n } },
      };
    }
    if (target === "/accepted") {
      this.effects.add(`event ${asked.id} ${n}`);
      return { state: await more(`accepted-${n}`) };
    }
    this.effects.add(`call ${headers[headers.indexOf("Idempotency-Key") + 1]} ${n}`);
    return { state: await more(`mailed-${n}`) };
  }
}

/** One more than what is stored: wrong at once when effects are applied twice, or not at all. */
async function oneMore(state: StateStore, key: string): Promise<object> {
  const found = await state.get({ key: `shop||${key}`, metadata: {} });
  if (found === undefined) return { key, value: 1, concurrency: "first-write" };
  return { key, value: Number(Buffer.from(found.value).toString()) + 1, etag: found.etag };
}

function laneOf(n: string): number {
  return Number(n.replace(/\D/g, "")) % lanes;
}

/** How one runtime reaches the shop; it reads that runtime's state. */
export class ShopChannel implements AppChannel {
  readonly protocol = "http";
  readonly isHealthy = true;
  readonly grpc = undefined;
  inbound: AppChannel["inbound"];
  state: StateStore | undefined;
  readonly #shop: Shop;
  readonly #host: SimulatedHost;
  readonly #random: Random;

  constructor(shop: Shop, host: SimulatedHost, random: Random) {
    this.#shop = shop;
    this.#host = host;
    this.#random = random;
  }

  async http(request: AppHttpRequest): Promise<AppHttpResponse> {
    await this.#way();
    const effects = await this.#shop.handle(request, this.state as StateStore);
    await this.#way();
    return answerOf(Buffer.from(JSON.stringify(effects)));
  }

  onHealthChange = () => () => undefined;
  grpcMetadata = () => [];
  withSlot = <T>(work: () => Promise<T>): Promise<T> => work();
  waitUntilReachable = async (): Promise<void> => undefined;
  close = async (): Promise<void> => undefined;

  /** A machine that dies never hears the answer. */
  #way(): Promise<void> {
    const share = this.#random.next();
    return new Promise((resolve) => {
      this.#host.clock.setTimer(share < 0.05 ? between(this.#random, 0, 400) : share * 4, resolve);
    });
  }
}

function answerOf(bytes: Uint8Array): AppHttpResponse {
  const rawHeaders = ["content-type", effectsType];
  return {
    status: 200,
    reason: "OK",
    rawHeaders,
    header: (lowerName) => (lowerName === "content-type" ? effectsType : undefined),
    body: bodyOf(bytes),
  };
}

export function bodyOf(bytes: Uint8Array): AppHttpResponse["body"] {
  return {
    size: bytes.length,
    bytes: () => bytes,
    async *[Symbol.asyncIterator]() {
      yield bytes;
    },
  };
}
