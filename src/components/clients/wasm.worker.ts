/** The thread of a WASM guest: what hangs or breaks in it does neither elsewhere. The build lists this file as an entry. */
import type { FromGuest, ToGuest } from "./wasm-exchange.ts";
import { WasmGuest } from "./wasm-guest.ts";

declare const self: Worker;

/** An instance that has grown beyond it is thrown away after its request. */
const memoryBytesMax = 128 << 20;
const idleMax = 32;

const idle: WasmGuest[] = [];
/** By request: each has an instance of its own until it is answered. */
const atWork = new Map<number, WasmGuest>();
let make: () => WasmGuest;

const tell = (message: FromGuest): void => self.postMessage(message);

function leave(id: number): void {
  const guest = atWork.get(id);
  atWork.delete(id);
  if (guest !== undefined && guest.memoryBytes <= memoryBytesMax && idle.length < idleMax) idle.push(guest);
}

function take(message: Extract<ToGuest, { kind: "request" | "response" }>): void {
  const { id, exchange } = message;
  const guest = atWork.get(id) ?? idle.pop() ?? make();
  atWork.set(id, guest);
  let isNext = false;
  if (message.kind === "request") isNext = guest.handleRequest(exchange);
  else guest.handleResponse(exchange);
  if (!isNext) leave(id);
  tell({ kind: "done", id, exchange, isNext });
}

function open({ module, config }: Extract<ToGuest, { kind: "open" }>): void {
  make = () => new WasmGuest(module, config, (level, text) => tell({ kind: "log", level, text }));
  const first = make();
  idle.push(first);
  tell({ kind: "ready", readsAnswers: (first.enabled & 2) !== 0 });
}

self.onmessage = ({ data }: MessageEvent<ToGuest>): void => {
  const id = data.kind === "open" ? 0 : data.id;
  try {
    if (data.kind === "leave") leave(id);
    else if (data.kind === "open") open(data);
    else take(data);
  } catch (error) {
    // An instance that broke down is not used again.
    atWork.delete(id);
    tell({ kind: "failed", id, message: error instanceof Error ? error.message : String(error) });
  }
};
