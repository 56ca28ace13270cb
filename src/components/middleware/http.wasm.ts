import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { component } from "../../component/component.ts";
import { duration, flag, text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import type { Clock } from "../../edges/clock.ts";
import { WholeBody } from "../../net/http1/body.ts";
import { changedRequest, headerOf, plainReply, withoutHeaders } from "../../net/http1/changed-request.ts";
import { BodyTooLarge } from "../../net/http1/errors.ts";
import type { HttpHandler, HttpReply, HttpRequest } from "../../net/http1/types.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { fetchBytes } from "../clients/fetch-bytes.ts";
import type { GuestExchange } from "../clients/wasm-exchange.ts";
import { WasmThread } from "../clients/wasm-thread.ts";

const bodyBytesMax = 4 << 20;
const fetchTimeoutMs = 30_000;

export default component({
  type: "middleware.http.wasm",
  version: "v1",
  status: "alpha",
  summary: "A WebAssembly guest of http-wasm sees and changes requests and answers",
  metadata: {
    url: text({ description: "file:// or http(s):// address of the guest's .wasm file", required: true }),
    guestConfig: text({ description: "a text that the guest may read", default: "" }),
    strictSandbox: flag({
      description: "no real clock and no chance for the guest",
      missing: "the guest has a real clock and real chance",
    }),
    timeout: duration({ description: "one call of the guest at most", default: 5_000, min: 1, max: 600_000 }),
  },
  async open({ url, guestConfig, timeout }, { log, edges }): Promise<HttpMiddleware> {
    const module = await compile(url, edges.clock);
    const thread = new WasmThread({
      module,
      config: guestConfig,
      timeoutMs: timeout,
      clock: edges.clock,
      log,
    });
    try {
      await thread.open();
    } catch (error) {
      thread.close();
      throw new Error(`the guest of ${url} can not be started: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const readsBodies = WebAssembly.Module.imports(module).some(({ name }) => name === "read_body");
    const guest = new GuestMiddleware(thread, log, readsBodies);
    return {
      handle: (request, next) => guest.handle(request, next),
      async close() {
        thread.close();
      },
    };
  },
});

async function compile(url: string, clock: Clock): Promise<WebAssembly.Module> {
  const { protocol = "" } = URL.canParse(url) ? new URL(url) : {};
  const isRemote = protocol === "http:" || protocol === "https:";
  if (!isRemote && protocol !== "file:") {
    throw new Error(`metadata field url of middleware.http.wasm: ${url} is neither file:// nor http(s)://`);
  }
  const bytes = isRemote
    ? await fetchBytes(url, { timeoutMs: fetchTimeoutMs, clock })
    : await readFile(fileURLToPath(url));
  try {
    return await WebAssembly.compile(new Uint8Array(bytes));
  } catch (error) {
    throw new Error(`${url} is no WebAssembly: ${(error as Error).message}`, { cause: error });
  }
}

class GuestMiddleware {
  readonly #thread: WasmThread;
  readonly #log: Log;
  readonly #readsBodies: boolean;

  constructor(thread: WasmThread, log: Log, readsBodies: boolean) {
    this.#thread = thread;
    this.#log = log;
    this.#readsBodies = readsBodies;
  }

  async handle(request: HttpRequest, next: HttpHandler): Promise<HttpReply> {
    try {
      return await this.#handle(request, next);
    } catch (error) {
      if (error instanceof BodyTooLarge) return plainReply(413, "Request Entity Too Large");
      if (!(error instanceof GuestFailure)) throw error;
      this.#log.error({ error: error.message }, "the WASM guest failed");
      return plainReply(500, "Internal Server Error");
    }
  }

  async #handle(request: HttpRequest, next: HttpHandler): Promise<HttpReply> {
    const isRead = this.#readsBodies && request.body.size !== 0;
    const body = isRead ? await request.body.bytes(bodyBytesMax) : nothing;
    const before: GuestExchange = {
      ...{ method: request.method, uri: request.target, source: `${request.remoteAddress}:0`, status: 200 },
      request: { headers: request.rawHeaders, body },
      response: { headers: [], body: nothing },
    };
    const { exchange, isNext, id } = await guarded(this.#thread.request(before));
    if (!isNext) return replyOf(exchange, exchange.response.body);
    let reply: HttpReply;
    try {
      reply = await next(changed(request, { exchange, isRead }));
    } catch (error) {
      this.#thread.leave(id);
      throw error;
    }
    return this.#answer(id, exchange, reply);
  }

  async #answer(id: number, exchange: GuestExchange, reply: HttpReply): Promise<HttpReply> {
    // A socket that was taken over is out of the guest's hands.
    if (reply.takeOver !== undefined) {
      this.#thread.leave(id);
      return reply;
    }
    const body = this.#thread.readsAnswers ? await wholeBody(reply.body) : undefined;
    const own = exchange.response.headers.filter((_, index, all) => {
      return headerOf(reply.headers, (all[index - (index % 2)] as string).toLowerCase()) === undefined;
    });
    const seen = {
      ...exchange,
      status: reply.status,
      response: { headers: [...reply.headers, ...own], body },
    };
    const { exchange: after } = await guarded(this.#thread.response(id, seen));
    const { body: written } = after.response;
    return written === undefined
      ? { ...replyOf(after, undefined), body: reply.body }
      : replyOf(after, written);
  }
}

const nothing = new Uint8Array(0);

class GuestFailure extends Error {}

async function guarded<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: Error) => {
    throw new GuestFailure(error.message, { cause: error });
  });
}

function changed(
  request: HttpRequest,
  { exchange, isRead }: { exchange: GuestExchange; isRead: boolean },
): HttpRequest {
  const { method, uri, request: message } = exchange;
  const isWritten = isRead || (message.body?.length ?? 0) > 0;
  return changedRequest(request, {
    ...{ method, target: uri, rawHeaders: message.headers },
    ...(isWritten && { body: new WholeBody(message.body ?? nothing) }),
  });
}

const framing = new Set(["content-length", "transfer-encoding"]);

function replyOf({ status, response }: GuestExchange, body: Uint8Array | undefined): HttpReply {
  if (body === undefined) return { status, headers: response.headers };
  return { status, headers: withoutHeaders(response.headers, framing), body };
}

async function wholeBody(body: HttpReply["body"]): Promise<Uint8Array> {
  if (body === undefined) return nothing;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > bodyBytesMax) throw new GuestFailure(`the answer is larger than ${bodyBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
