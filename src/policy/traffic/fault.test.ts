import { expect, test } from "bun:test";
import { Bed, get, shape } from "./fixture-bed.ts";

const all = {
  bandwidthKbps: 0,
  commands: [],
  match: { pathPrefix: "", headers: [] },
  isHeaderControlled: false,
};
const uses = 20_000;

test("aborts and delays hit their share within 4 σ, each for itself", async () => {
  const bed = new Bed(11);
  const fault = {
    ...all,
    abort: { percentage: 10, httpStatus: 503, error: "" },
    delay: { percentage: 5, fixedDelayMs: 1 },
  };
  const layer = bed.layer({ fault });
  const running = Array.from({ length: uses }, () => layer.run(get, async () => ({ status: 200 }), shape));
  bed.clock.advance(1);
  const answers = await Promise.all(running);
  const near = (count: number, share: number): void => {
    const sigma = Math.sqrt(uses * share * (1 - share));
    expect(Math.abs(count - uses * share)).toBeLessThan(4 * sigma);
  };
  near(answers.filter(({ status }) => status === 503).length, 0.1);
  near(bed.did("delay"), 0.05);
  near(bed.did("abort"), 0.1);
});

test("an abort is not retried, and reaches the fallback", async () => {
  const bed = new Bed();
  const layer = bed.layer({
    fault: { ...all, abort: { percentage: 100, httpStatus: 503, error: "" } },
    retries: retries({ attempts: 3, retryOn: ["5xx"] }),
    fallback: { on: ["5xx"], directResponse: { status: 203, body: "", contentType: "" }, staleCache: false },
  });
  expect(await layer.run(get, async () => ({ status: 200 }), shape)).toEqual({ status: 203 });
  expect(bed.did("retry")).toBe(0);
});

function retries(some: object) {
  return {
    ...{ attempts: 2, perTryTimeoutMs: 0, retryOn: [], retriableStatusCodes: [], backoffMs: 25 },
    ...{ backoffMaxMs: 250, ignorePreviousHosts: false, retryAfterMaxMs: 300_000, ...some },
  };
}
