import { expect, test } from "bun:test";
import { realEdges } from "../edges/edges.ts";
import { pause, pauseBefore } from "./pause.ts";

const { clock } = realEdges();
const dayMs = 24 * 60 * 60 * 1_000;

test("pause() ends with its time, and early with each of its signals", async () => {
  await pause(clock, 1);
  const [one, other] = [new AbortController(), new AbortController()];
  const paused = pause(clock, dayMs, one.signal, other.signal);
  other.abort();
  await paused;
  await pause(clock, dayMs, one.signal, other.signal);
});

test("pauseBefore() doubles up to the most, between half and all of it", () => {
  const random = (next: number) => ({
    firstMs: 100,
    maxMs: 1_000,
    random: { ...realEdges().random, next: () => next },
  });
  expect([0, 1, 2, 3, 4, 5_000].map((tries) => pauseBefore(tries, random(0)))).toEqual([
    50, 100, 200, 400, 500, 500,
  ]);
  expect([0, 1, 4].map((tries) => pauseBefore(tries, random(0.999_999)))).toEqual([100, 200, 1_000]);
});
