import type { Clock } from "../../edges/clock.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { FromGuest, GuestExchange, ToGuest } from "./wasm-exchange.ts";

export interface WasmThreadOptions {
  module: WebAssembly.Module;
  config: string;
  timeoutMs: number;
  clock: Clock;
  log: Log;
}

export interface GuestAnswer {
  exchange: GuestExchange;
  /** The request goes on. */
  isNext: boolean;
}

interface Waiting {
  resolve(answer: GuestAnswer): void;
  reject(error: Error): void;
}

/** Threads that hang and can not be ended (Bun does not stop a loop in WebAssembly) hold a core each. */
const hungMax = 3;
/** Instances of a guest at once: each has its memory from a request's beginning to its answer. */
const heldMax = 64;
const levels = ["debug", "info", "warn", "error"] as const;

/** A guest in a thread of its own. One that does not answer in time is left behind, and another begins. */
export class WasmThread {
  /** The guest looks into the bodies of answers. */
  readsAnswers = false;
  readonly #options: WasmThreadOptions;
  #worker: Worker | undefined;
  #ready: Promise<Worker> | undefined;
  #waiting = new Map<number, Waiting>();
  #lastId = 0;
  /** Requests that have an instance of the guest, and those that wait for one. */
  readonly #held = new Set<number>();
  readonly #queue: (() => void)[] = [];
  #hung = 0;
  #isClosed = false;

  constructor(options: WasmThreadOptions) {
    this.#options = options;
  }

  /** Rejects when the module is no guest. */
  async open(): Promise<void> {
    await this.#start();
  }

  /** A request before it goes on: `id` is what its answer is handled by. */
  async request(exchange: GuestExchange): Promise<GuestAnswer & { id: number }> {
    const id = ++this.#lastId;
    const worker = await this.#start();
    while (this.#held.size >= heldMax && worker === this.#worker) {
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    }
    if (worker !== this.#worker) throw new Error("the guest's thread has ended");
    this.#held.add(id);
    const answer = await this.#ask({ kind: "request", id, exchange }, worker);
    return { ...answer, id };
  }

  response(id: number, exchange: GuestExchange): Promise<GuestAnswer> {
    const worker = this.#worker;
    if (worker === undefined) return Promise.reject(new Error("the guest that had the request is gone"));
    return this.#ask({ kind: "response", id, exchange }, worker);
  }

  leave(id: number): void {
    this.#free(id);
    this.#worker?.postMessage({ kind: "leave", id } satisfies ToGuest);
  }

  close(): void {
    this.#isClosed = true;
    this.#end(new Error("the middleware was closed"));
  }

  #free(id: number): void {
    this.#held.delete(id);
    this.#queue.shift()?.();
  }

  #start(): Promise<Worker> {
    if (this.#isClosed) return Promise.reject(new Error("the middleware was closed"));
    if (this.#hung >= hungMax) return Promise.reject(new Error(`the guest hung ${hungMax} times`));
    this.#ready ??= this.#open();
    return this.#ready;
  }

  async #open(): Promise<Worker> {
    const worker = new Worker(new URL("./wasm.worker.ts", import.meta.url));
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromGuest>) => this.#receive(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker === this.#worker) this.#end(new Error(`the guest's thread ended: ${event.message}`));
    };
    const { module, config } = this.#options;
    await this.#ask({ kind: "open", module, config }, worker);
    return worker;
  }

  /** The answer within the time; else the thread is given up with all that it has. */
  async #ask(message: Exclude<ToGuest, { kind: "leave" }>, worker: Worker): Promise<GuestAnswer> {
    const { clock, timeoutMs } = this.#options;
    const id = message.kind === "open" ? 0 : message.id;
    const waiting = Promise.withResolvers<GuestAnswer>();
    this.#waiting.set(id, waiting);
    const timer = clock.setTimer(timeoutMs, () => {
      if (worker !== this.#worker) return;
      this.#hung++;
      this.#end(new Error(`the guest has not answered within ${timeoutMs} ms`));
    });
    worker.postMessage(message);
    try {
      return await waiting.promise;
    } finally {
      timer.cancel();
    }
  }

  #receive(worker: Worker, message: FromGuest): void {
    if (worker !== this.#worker) return;
    if (message.kind === "log") {
      this.#log(message.level, message.text);
      return;
    }
    const id = message.kind === "ready" ? 0 : message.id;
    if (message.kind === "failed" || (message.kind === "done" && !message.isNext)) this.#free(id);
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (message.kind === "ready") this.readsAnswers = message.readsAnswers;
    if (message.kind === "failed") waiting?.reject(new Error(message.message));
    else waiting?.resolve(message as GuestAnswer);
  }

  #log(level: number, text: string): void {
    const name = levels[level + 1];
    if (name !== undefined) this.#options.log[name]({}, text);
  }

  #end(error: Error): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting = new Map();
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#ready = undefined;
    this.#held.clear();
    for (const one of waiting) one.reject(error);
    for (const wake of this.#queue.splice(0)) wake();
  }
}
