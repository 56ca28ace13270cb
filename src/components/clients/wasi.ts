/** The part of WASI preview 1 that a guest needs to run: clocks, chance, its output. No files, no network, no environment. */
export interface Wasi {
  imports: Record<string, (...args: never[]) => number>;
}

/** A guest said that it is done. */
export class GuestExit extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`the guest exited with ${code}`);
    this.name = "GuestExit";
    this.code = code;
  }
}

const badFile = 8;
const notThere = 52;
const clockEvent = 0;
const pauseMaxMs = 1_000;
const outputMax = 16_384;

export function createWasi(
  memory: () => WebAssembly.Memory,
  output: (text: string, isError: boolean) => void,
): Wasi["imports"] {
  const view = () => new DataView(memory().buffer);
  const nothing = (countAt: number, bytesAt: number): number => {
    view().setUint32(countAt, 0, true);
    view().setUint32(bytesAt, 0, true);
    return 0;
  };
  return {
    args_sizes_get: nothing,
    environ_sizes_get: nothing,
    args_get: () => 0,
    environ_get: () => 0,
    sched_yield: () => 0,
    clock_time_get(clock: number, _precision: bigint, at: number): number {
      const ms = clock === 0 ? Date.now() : performance.now();
      view().setBigUint64(at, BigInt(Math.round(ms * 1_000_000)), true);
      return 0;
    },
    random_get(at: number, length: number): number {
      // At most 64 KiB at once is what Web Crypto gives.
      for (let done = 0; done < length; done += 65_536) {
        const size = Math.min(65_536, length - done);
        crypto.getRandomValues(new Uint8Array(memory().buffer as ArrayBuffer, at + done, size));
      }
      return 0;
    },
    fd_write(file: number, vectors: number, count: number, writtenAt: number): number {
      if (file !== 1 && file !== 2) return badFile;
      const pieces = Array.from({ length: count }, (_, index) => {
        const [at, size] = [0, 4].map((offset) => view().getUint32(vectors + index * 8 + offset, true));
        return new Uint8Array(memory().buffer, at, size);
      });
      const bytes = Buffer.concat(pieces);
      view().setUint32(writtenAt, bytes.length, true);
      output(bytes.subarray(0, outputMax).toString().trimEnd(), file === 2);
      return 0;
    },
    fd_prestat_get: () => badFile,
    fd_fdstat_get: (file: number, at: number) => describeFile(view(), file, at),
    poll_oneoff: (subscriptions: number, events: number, count: number, countAt: number) =>
      pause(view(), { subscriptions, events, count, countAt }),
    proc_exit(code: number): never {
      throw new GuestExit(code);
    },
  };
}

/** For functions that are not among them. */
export const refuseCall = (): number => notThere;

function describeFile(view: DataView, file: number, at: number): number {
  if (file > 2) return badFile;
  for (let offset = 0; offset < 24; offset++) view.setUint8(at + offset, 0);
  // A character device.
  view.setUint8(at, 2);
  return 0;
}

interface Poll {
  subscriptions: number;
  events: number;
  count: number;
  countAt: number;
}

/** Of all that can be waited for, guests here only have time. */
function pause(view: DataView, { subscriptions, events, count, countAt }: Poll): number {
  let waitMs = pauseMaxMs;
  for (let index = 0; index < count; index++) {
    const at = subscriptions + index * 48;
    if (view.getUint8(at + 8) !== clockEvent) return notThere;
    const isAbsolute = (view.getUint16(at + 40, true) & 1) !== 0;
    const ms = Number(view.getBigUint64(at + 24, true)) / 1_000_000;
    waitMs = Math.min(waitMs, isAbsolute ? ms - performance.now() : ms);
    view.setBigUint64(events + index * 32, view.getBigUint64(at, true), true);
    view.setUint16(events + index * 32 + 8, 0, true);
    view.setUint8(events + index * 32 + 10, clockEvent);
  }
  if (waitMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, waitMs);
  view.setUint32(countAt, count, true);
  return 0;
}
