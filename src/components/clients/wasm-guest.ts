import { createWasi, GuestExit, refuseCall, type Wasi } from "./wasi.ts";
import type { GuestExchange, GuestMessage } from "./wasm-exchange.ts";

/** Bits of http-wasm's `enable_features`. Trailers are not among them. */
const buffersResponse = 2;
const features = 1 | buffersResponse;
/** Levels of its log. */
const [debug, warn, none] = [-1, 1, 3];

interface GuestExports {
  memory: WebAssembly.Memory;
  _initialize?(): void;
  _start?(): void;
  handle_request(): bigint;
  handle_response?(context: number, isError: number): void;
}

/** An instance of a guest of http-wasm (https://http-wasm.io/http-handler-abi/), with one request at a time. */
export class WasmGuest {
  enabled = 0;
  readonly #exports: GuestExports;
  readonly #config: Uint8Array;
  readonly #log: (level: number, text: string) => void;
  #exchange: GuestExchange = noExchange();
  /** How much of the request's and of the response's body was read. */
  #read = [0, 0];
  #written = [false, false];
  #context = 0;

  constructor(module: WebAssembly.Module, config: string, log: (level: number, text: string) => void) {
    this.#config = Buffer.from(config);
    this.#log = log;
    const wasi = createWasi(
      () => this.#memory,
      (text, isError) => log(isError ? warn : debug, text),
    );
    const { exports } = new WebAssembly.Instance(module, importsOf(module, this.#functions(), wasi));
    this.#exports = exports as unknown as GuestExports;
    if (typeof this.#exports.handle_request !== "function" || this.#memory === undefined) {
      throw new Error("it is no guest of http-wasm: it has to export memory and handle_request");
    }
    try {
      this.#exports._initialize?.();
      this.#exports._start?.();
    } catch (error) {
      // A main that has ended well may say so.
      if (!(error instanceof GuestExit) || error.code !== 0) throw error;
    }
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Whether the request goes on. */
  handleRequest(exchange: GuestExchange): boolean {
    this.#begin(exchange);
    const answer = this.#exports.handle_request();
    this.#context = Number(answer >> 32n) | 0;
    return (answer & 0xffffffffn) === 1n;
  }

  handleResponse(exchange: GuestExchange): void {
    this.#begin(exchange);
    this.#exports.handle_response?.(this.#context, 0);
  }

  get #memory(): WebAssembly.Memory {
    return this.#exports?.memory;
  }

  #begin(exchange: GuestExchange): void {
    this.#exchange = exchange;
    this.#read = [0, 0];
    this.#written = [false, false];
  }

  #functions(): Record<string, HostFunction> {
    return {
      enable_features: (asked: number) => {
        this.enabled |= asked & features;
        return this.enabled;
      },
      get_config: (at: number, limit: number) => this.#put(this.#config, at, limit),
      log: (level: number, at: number, size: number) => this.#log(level, this.#text(at, size)),
      log_enabled: (level: number) => Number(level < none),
      get_method: (at: number, limit: number) => this.#put(this.#exchange.method, at, limit),
      set_method: (at: number, size: number) => {
        this.#exchange.method = this.#text(at, size);
      },
      get_uri: (at: number, limit: number) => this.#put(this.#exchange.uri, at, limit),
      set_uri: (at: number, size: number) => {
        this.#exchange.uri = this.#text(at, size) || "/";
      },
      get_protocol_version: (at: number, limit: number) => this.#put("HTTP/1.1", at, limit),
      get_source_addr: (at: number, limit: number) => this.#put(this.#exchange.source, at, limit),
      get_status_code: () => this.#exchange.status,
      set_status_code: (status: number) => {
        this.#exchange.status = status;
      },
      ...this.#headerFunctions(),
      ...this.#bodyFunctions(),
    };
  }

  #headerFunctions(): Record<string, HostFunction> {
    const change = (kind: number, name: string, value: string | undefined, isKept: boolean): void => {
      const message = this.#message(kind);
      const lower = name.toLowerCase();
      const rest = isKept ? message.headers : linesWithout(message.headers, lower);
      message.headers = value === undefined ? rest : [...rest, name, value];
    };
    return {
      get_header_names: (kind: number, at: number, limit: number) => {
        const names = new Set(linesOf(kind < 2 ? this.#message(kind).headers : []).map(([name]) => name));
        return this.#list([...names], at, limit);
      },
      get_header_values: (kind: number, nameAt: number, nameSize: number, at: number, limit: number) => {
        const wanted = this.#text(nameAt, nameSize).toLowerCase();
        const lines = linesOf(kind < 2 ? this.#message(kind).headers : []);
        return this.#list(
          lines.flatMap(([name, value]) => (name === wanted ? [value] : [])),
          at,
          limit,
        );
      },
      set_header_value: (kind: number, ...[nameAt, nameSize, at, size]: Four) =>
        change(kind, this.#text(nameAt, nameSize), this.#text(at, size), false),
      add_header_value: (kind: number, ...[nameAt, nameSize, at, size]: Four) =>
        change(kind, this.#text(nameAt, nameSize), this.#text(at, size), true),
      remove_header: (kind: number, nameAt: number, nameSize: number) =>
        change(kind, this.#text(nameAt, nameSize), undefined, false),
    };
  }

  #bodyFunctions(): Record<string, HostFunction> {
    return {
      read_body: (kind: number, at: number, limit: number) => {
        const { body } = this.#message(kind);
        if (body === undefined)
          throw new Error("read_body: the body of a response needs feature buffer_response");
        const from = this.#read[kind] ?? 0;
        const piece = body.subarray(from, from + limit);
        new Uint8Array(this.#memory.buffer).set(piece, at);
        this.#read[kind] = from + piece.length;
        const isEnd = from + piece.length === body.length;
        return (BigInt(isEnd) << 32n) | BigInt(piece.length);
      },
      write_body: (kind: number, at: number, size: number) => {
        const message = this.#message(kind);
        const piece = Buffer.from(this.#bytes(at, size));
        const before = this.#written[kind] ? (message.body ?? nothing) : nothing;
        message.body = Buffer.concat([before, piece]);
        this.#written[kind] = true;
      },
    };
  }

  #message(kind: number): GuestMessage {
    if (kind === 0) return this.#exchange.request;
    if (kind === 1) return this.#exchange.response;
    throw new Error("trailers are not supported");
  }

  #bytes(at: number, size: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, size);
  }

  #text(at: number, size: number): string {
    return Buffer.from(this.#bytes(at, size)).toString();
  }

  /** Its length; nothing is written when there is no room for all of it. */
  #put(value: string | Uint8Array, at: number, limit: number): number {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    if (bytes.length <= limit) new Uint8Array(this.#memory.buffer).set(bytes, at);
    return bytes.length;
  }

  #list(texts: readonly string[], at: number, limit: number): bigint {
    const size = this.#put(texts.map((text) => `${text}\0`).join(""), at, limit);
    return (BigInt(texts.length) << 32n) | BigInt(size);
  }
}

type HostFunction = (...args: never[]) => unknown;
type Four = [number, number, number, number];

const nothing = new Uint8Array(0);

function noExchange(): GuestExchange {
  const message = () => ({ headers: [], body: nothing });
  return { method: "", uri: "", source: "", status: 200, request: message(), response: message() };
}

function linesOf(headers: readonly string[]): [lowerName: string, value: string][] {
  return Array.from({ length: headers.length / 2 }, (_, index) => [
    (headers[index * 2] as string).toLowerCase(),
    headers[index * 2 + 1] as string,
  ]);
}

function linesWithout(headers: readonly string[], lowerName: string): string[] {
  return headers.filter((_, index) => headers[index - (index % 2)]?.toLowerCase() !== lowerName);
}

/** What the module asks for, from the two sets that there are. */
function importsOf(
  module: WebAssembly.Module,
  handler: Record<string, HostFunction>,
  wasi: Wasi["imports"],
): Record<string, Record<string, HostFunction>> {
  const imports: Record<string, Record<string, HostFunction>> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const found =
      from === "http_handler"
        ? handler[name]
        : from.startsWith("wasi_snapshot")
          ? (wasi[name] ?? refuseCall)
          : undefined;
    if (found === undefined || kind !== "function")
      throw new Error(`the guest asks for ${from}.${name}, which is not there`);
    imports[from] = { ...imports[from], [name]: found };
  }
  return imports;
}
