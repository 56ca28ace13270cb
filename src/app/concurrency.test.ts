import { describe, expect, test } from "bun:test";
import { createLimiter, QueueFull } from "./concurrency.ts";

describe("createLimiter()", () => {
  test("without a limit never waits", () => {
    const limiter = createLimiter({ max: -1 });
    for (let i = 0; i < 100; i++) expect(limiter.acquire()).toBeUndefined();
    expect(limiter.active).toBe(0);
  });

  test("lets waiting calls go in the order they came and nobody overtake", async () => {
    const limiter = createLimiter({ max: 1 });
    const order: string[] = [];
    limiter.acquire();
    const first = limiter.acquire()?.then(() => order.push("first"));
    const second = limiter.acquire()?.then(() => order.push("second"));
    limiter.release();
    expect(limiter.acquire()).toBeInstanceOf(Promise);
    await first;
    expect(order).toEqual(["first"]);
    limiter.release();
    await second;
    expect(order).toEqual(["first", "second"]);
  });

  test("an aborted call leaves the queue and takes no slot", async () => {
    const limiter = createLimiter({ max: 1 });
    limiter.acquire();
    const abort = new AbortController();
    const given = limiter.acquire(abort.signal);
    const kept = limiter.acquire();
    abort.abort(new Error("gone"));
    await expect(given).rejects.toThrow("gone");
    expect(limiter.queued).toBe(1);
    limiter.release();
    await kept;
    limiter.release();
    expect(limiter).toMatchObject({ active: 0, queued: 0 });
  });

  test("refuses a call whose signal is aborted and one beyond the queue's bound", async () => {
    const limiter = createLimiter({ max: 1, queuedMax: 1 });
    await expect(limiter.acquire(AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
    limiter.acquire();
    limiter.acquire();
    await expect(limiter.acquire()).rejects.toBeInstanceOf(QueueFull);
  });
});
