import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { AttemptEnd } from "../../kit/cancellation.ts";
import { Breaker } from "./breaker.ts";
import { codeMatcher } from "./codes.ts";
import { backoffMs, ResiliencePolicy } from "./policy.ts";
import type { RetrySpec } from "./spec.ts";
import { tripByDefault } from "./trip.ts";

const constant: RetrySpec = {
  kind: "constant",
  durationMs: 100,
  intervalMaxMs: 60_000,
  retriesMax: 3,
  matches: undefined,
};

function setUp(parts: { retry?: RetrySpec; timeoutMs?: number; hasBreaker?: boolean }) {
  const clock = new SimulatedClock();
  const activations: string[] = [];
  const spec = { probesMax: 1, clearMs: 0, openMs: 60_000, trip: "" };
  const breaker = parts.hasBreaker
    ? new Breaker(spec, { clock, trip: tripByDefault, changed: () => {} })
    : undefined;
  const policy = new ResiliencePolicy({
    clock,
    timeoutMs: parts.timeoutMs ?? 0,
    retry: parts.retry,
    breaker,
    activated: (what) => activations.push(what),
  });
  /** Lets time pass until the promise settles. */
  async function settled<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const end = () => {
      isSettled = true;
    };
    work.then(end, end);
    for (let i = 0; i < 200 && !isSettled; i++) {
      await Promise.resolve();
      await Promise.resolve();
      clock.advance(50);
    }
    return work;
  }
  return { clock, policy, activations, settled };
}

function failing(times: number): { calls: () => number; work: () => Promise<string> } {
  let calls = 0;
  const work = async () => {
    calls++;
    if (calls <= times) throw new Error(`failure ${calls}`);
    return "done";
  };
  return { calls: () => calls, work };
}

test("ResiliencePolicy tries again up to its bound and gives the last error back", async () => {
  const { policy, settled, activations } = setUp({ retry: constant });
  const { calls, work } = failing(10);
  await expect(settled(policy.run(work))).rejects.toThrow("failure 4");
  expect(calls()).toBe(4);
  expect(activations).toEqual(["retry", "retry", "retry"]);
});

test("ResiliencePolicy ends at the first success", async () => {
  const { policy, settled } = setUp({ retry: constant });
  const { calls, work } = failing(2);
  expect(await settled(policy.run(work))).toBe("done");
  expect(calls()).toBe(3);
});

test("ResiliencePolicy tries without end while the caller waits, and stops when it has gone", async () => {
  const { policy, settled } = setUp({ retry: { ...constant, retriesMax: -1 } });
  const caller = new AbortController();
  let calls = 0;
  const work = async () => {
    calls++;
    if (calls === 20) caller.abort(new Error("gone"));
    throw new Error("no");
  };
  await expect(settled(policy.run(work, { signal: caller.signal }))).rejects.toThrow();
  expect(calls).toBe(20);
});

test("ResiliencePolicy does not repeat permanent failures or what can be sent once only", async () => {
  const { policy } = setUp({ retry: constant });
  const permanent = failing(10);
  await expect(policy.run(permanent.work, { isPermanent: () => true })).rejects.toThrow("failure 1");
  const once = failing(10);
  await expect(policy.run(once.work, { isRepeatable: false })).rejects.toThrow("failure 1");
});

test("ResiliencePolicy repeats only matching codes and gives refused results back as they are", async () => {
  const { policy, settled } = setUp({ retry: { ...constant, matches: codeMatcher("429,500-599", "") } });
  const statuses: number[] = [];
  const disposed: number[] = [];
  const options = {
    codeOf: (status: number) => (status < 400 ? undefined : { http: status }),
    dispose: (status: number) => void disposed.push(status),
  };
  const answering = (list: number[]) => async () => {
    const status = list[statuses.length] ?? 0;
    statuses.push(status);
    return status;
  };
  expect(await settled(policy.run(answering([503, 429, 404, 200]), options))).toBe(404);
  expect(statuses).toEqual([503, 429, 404]);
  expect(disposed).toEqual([503, 429]);
});

test("ResiliencePolicy cuts an attempt short, and lets go of what it brings later", async () => {
  const { policy, clock, activations } = setUp({ timeoutMs: 100 });
  const late = Promise.withResolvers<string>();
  const disposed: string[] = [];
  let signal: AbortSignal | undefined;
  const running = policy.run(
    (given) => {
      signal = given?.signal;
      return late.promise;
    },
    { dispose: (result) => void disposed.push(result) },
  );
  clock.advance(100);
  await expect(running).rejects.toThrow("context deadline exceeded");
  expect(signal?.aborted).toBe(true);
  expect(activations).toEqual(["timeout"]);
  late.resolve("late");
  await late.promise;
  await Promise.resolve();
  expect(disposed).toEqual(["late"]);
});

test("ResiliencePolicy stops at an open breaker", async () => {
  const { policy, settled } = setUp({ retry: { ...constant, retriesMax: 20 }, hasBreaker: true });
  const { calls, work } = failing(100);
  await expect(settled(policy.run(work))).rejects.toThrow("circuit breaker is open");
  expect(calls()).toBe(6);
  await expect(policy.run(work)).rejects.toThrow("circuit breaker is open");
  expect(calls()).toBe(6);
});

test("ResiliencePolicy does not hold the caller's mistakes against the target", async () => {
  const { policy } = setUp({ hasBreaker: true });
  for (let i = 0; i < 20; i++) {
    const mistake = Promise.reject(new Error("etag"));
    await policy.run(() => mistake, { isPermanent: () => true }).catch(() => {});
  }
  expect(await policy.run(async () => "through")).toBe("through");
});

test("ResiliencePolicy does not hold it against the target that callers leave, but does that they waited too long", async () => {
  const { policy, settled } = setUp({ timeoutMs: 100, hasBreaker: true });
  const endless = (ended: AttemptEnd | undefined) =>
    new Promise<string>((_, reject) => {
      ended?.signal.addEventListener("abort", () => reject(ended.signal.reason));
    });
  for (let i = 0; i < 20; i++) {
    const caller = new AbortController();
    const run = policy.run(endless, { signal: caller.signal }).catch((error) => error);
    caller.abort(new Error("left"));
    expect((await run).message).toBe("left");
  }
  expect(await policy.run(async () => "through")).toBe("through");
  for (let i = 0; i < 6; i++) await settled(policy.run(endless)).catch(() => {});
  const error = await policy.run(async () => "through").catch((e) => e);
  expect(error.message).toBe("circuit breaker is open");
});

test("backoffMs() grows exponentially between its bounds and gives up after 15 minutes", () => {
  const retry: RetrySpec = { ...constant, kind: "exponential", intervalMaxMs: 2_000 };
  const middle = () => 0.5;
  expect([1, 2, 3, 10].map((attempt) => backoffMs(retry, attempt, 0, middle))).toEqual([
    500, 750, 1125, 2000,
  ]);
  expect(backoffMs(retry, 1, 0, () => 0)).toBe(250);
  expect(backoffMs(retry, 1, 15 * 60_000, middle)).toBeUndefined();
  expect(backoffMs(constant, 9, 20 * 60_000)).toBe(100);
});

test("codeMatcher() restricts only the protocol it lists", () => {
  const matches = codeMatcher("500-599, 429", "");
  expect(matches?.({ http: 404 })).toBe(false);
  expect(matches?.({ http: 429 })).toBe(true);
  expect(matches?.({ grpc: 5 })).toBe(true);
  expect(matches?.({ unknown: true })).toBe(true);
  expect(codeMatcher("", "")).toBeUndefined();
});
