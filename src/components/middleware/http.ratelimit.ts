import { component } from "../../component/component.ts";
import { number } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { plainReply } from "../../net/http1/changed-request.ts";

export default component({
  type: "middleware.http.ratelimit",
  version: "v1",
  status: "stable",
  summary: "Requests per second and caller's address; more get 429",
  metadata: {
    maxRequestsPerSecond: number({
      description: "requests per second of one address; as many may come at once",
      default: 100,
      min: 0.001,
      fraction: true,
    }),
  },
  async open({ maxRequestsPerSecond: perSecond }, { edges }): Promise<HttpMiddleware> {
    const buckets = new Buckets(perSecond, edges.clock.monotonicMs);
    return {
      handle(request, next) {
        if (buckets.take(request.remoteAddress)) return next(request);
        const reply = plainReply(429, "You have reached maximum request limit.");
        const waitS = Math.max(1, Math.ceil(1 / perSecond));
        reply.headers.push("X-Rate-Limit-Limit", String(perSecond), "X-Rate-Limit-Duration", "1");
        reply.headers.push("Retry-After", String(waitS));
        return reply;
      },
      async close() {},
    };
  },
});

/** Addresses that are remembered; who was quiet for the longest time starts anew. */
const addressesMax = 10_000;

/** A token bucket for each address. */
class Buckets {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  readonly #byAddress = new Map<string, { tokens: number; atMs: number }>();

  constructor(perSecond: number, nowMs: () => number) {
    this.#perMs = perSecond / 1000;
    this.#burst = Math.max(1, Math.floor(perSecond));
    this.#nowMs = nowMs;
  }

  take(address: string): boolean {
    const atMs = this.#nowMs();
    const before = this.#byAddress.get(address) ?? { tokens: this.#burst, atMs };
    const tokens = Math.min(this.#burst, before.tokens + (atMs - before.atMs) * this.#perMs);
    const isTaken = tokens >= 1;
    this.#byAddress.delete(address);
    this.#byAddress.set(address, { tokens: isTaken ? tokens - 1 : tokens, atMs });
    if (this.#byAddress.size > addressesMax) {
      const [oldest = ""] = this.#byAddress.keys();
      this.#byAddress.delete(oldest);
    }
    return isTaken;
  }
}
