import { expect, test } from "bun:test";
import { simulatedEdges } from "../../edges/simulated.ts";
import { claimInTime } from "./claim-in-time.ts";

test("a claim whose lease ended before its answer came is none", async () => {
  const { clock } = simulatedEdges(1);
  const after = (ms: number) => async () => {
    await clock.advance(ms);
    return ["a"];
  };
  expect(await claimInTime(clock, 10_000, after(9_999), [])).toEqual(["a"]);
  expect(await claimInTime(clock, 10_000, after(10_000), [])).toEqual([]);
  expect(await claimInTime(clock, 0, after(5), [])).toEqual(["a"]);
});
