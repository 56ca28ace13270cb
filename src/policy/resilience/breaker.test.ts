import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import { Breaker, type BreakerSpec, type BreakerState } from "./breaker.ts";
import { compileTrip, tripByDefault } from "./trip.ts";

function setUp(changes: Partial<BreakerSpec> = {}, trip = tripByDefault) {
  const clock = new SimulatedClock();
  const states: BreakerState[] = [];
  const spec = { probesMax: 1, clearMs: 0, openMs: 60_000, trip: "", ...changes };
  const breaker = new Breaker(spec, { clock, trip, changed: (state) => states.push(state) });
  return { clock, breaker, states };
}

function fail(breaker: Breaker, times: number): void {
  for (let i = 0; i < times; i++) breaker.enter().failed();
}

test("Breaker opens after more than five failures in a row, not before", () => {
  const { breaker } = setUp();
  fail(breaker, 5);
  breaker.enter().succeeded();
  fail(breaker, 5);
  expect(breaker.state).toBe("closed");
  fail(breaker, 1);
  expect(breaker.state).toBe("open");
  expect(() => breaker.enter()).toThrow("circuit breaker is open");
});

test("Breaker lets probes through after its time and closes when they succeed", () => {
  const { breaker, clock, states } = setUp({ probesMax: 2 });
  fail(breaker, 6);
  clock.advance(59_999);
  expect(() => breaker.enter()).toThrow("circuit breaker is open");
  clock.advance(1);
  const probes = [breaker.enter(), breaker.enter()];
  expect(() => breaker.enter()).toThrow("too many requests");
  for (const probe of probes) probe.succeeded();
  expect(states).toEqual(["open", "half-open", "closed"]);
});

test("Breaker opens again when a probe fails", () => {
  const { breaker, clock } = setUp();
  fail(breaker, 6);
  clock.advance(60_000);
  breaker.enter().failed();
  expect(breaker.state).toBe("open");
});

test("Breaker does not count outcomes of an earlier state", () => {
  const { breaker, clock } = setUp();
  const slow = breaker.enter();
  fail(breaker, 6);
  clock.advance(60_000);
  breaker.enter();
  slow.failed();
  expect(breaker.state).toBe("half-open");
});

test("Breaker forgets its counts each interval", () => {
  const { breaker, clock } = setUp({ clearMs: 1_000 });
  fail(breaker, 5);
  clock.advance(1_000);
  fail(breaker, 5);
  expect(breaker.state).toBe("closed");
});

test("compileTrip() evaluates CEL over the counts", async () => {
  const trip = compileTrip("requests >= 3 && totalFailures * 2 > requests", () => {});
  const counts = {
    requests: 3,
    totalSuccesses: 1,
    totalFailures: 2,
    consecutiveSuccesses: 0,
    consecutiveFailures: 2,
  };
  const deadlineMs = Date.now() + 5_000;
  while (!trip(counts) && Date.now() < deadlineMs) await Bun.sleep(1);
  expect(trip(counts)).toBe(true);
  expect(trip({ ...counts, totalFailures: 1 })).toBe(false);
});

test("compileTrip() warns of an expression that is none and keeps the breaker closed", async () => {
  const warned = Promise.withResolvers<Error>();
  const trip = compileTrip("requests >=", warned.resolve);
  expect(await warned.promise).toBeInstanceOf(Error);
  const { breaker } = setUp({}, trip);
  fail(breaker, 20);
  expect(breaker.state).toBe("closed");
});
