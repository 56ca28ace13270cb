import { type Bench, type Line, median, percentile } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { runProgram, startProgram } from "./harness/program.ts";

/** The app answers this many at once, each after this long: 1,600 a second. */
const places = 16;
const answerMs = 10;
const capacity = (places * 1000) / answerMs;
/** Answers that come later are of no use to anybody. */
const usefulMs = 500;
const flags = [
  ...["--app-max-concurrency", String(places)],
  ...["--api-max-concurrency", String(4 * places), "--api-max-queued", String(4 * places)],
];

interface Report {
  sent: number;
  useful: number;
  refused: number;
  failed: number;
  latenciesMs: number[];
}

/** Twice what the app can do, from clients that do not slow down: what it still does, and whether health answers. */
export default {
  name: "overload",
  run: ({ rounds, secondsPerRound, say }) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("slow-app", [String(places), String(answerMs)]));
      const mecha = await keep(startMecha({ appPort: app.port, flags }));
      const invoke = `/v1.0/invoke/${appId}/method/work`;
      const load = async (path: string, rate: number, connections: number): Promise<Report> => {
        const args = [mecha.httpPort, path, rate, secondsPerRound, connections, usefulMs].map(String);
        return JSON.parse(await runProgram("open-load", args)) as Report;
      };
      await load(invoke, capacity / 4, 64);
      const shares: number[] = [];
      const healthMs: number[] = [];
      for (let index = 0; index < rounds; index++) {
        const peak = await load(invoke, capacity * 0.9, 256);
        const [over, health] = await Promise.all([
          load(invoke, capacity * 2, 1024),
          load("/v1.0/healthz", 100, 16),
        ]);
        shares.push((over.useful / (peak.useful / 0.9)) * 100);
        healthMs.push(percentile(health.latenciesMs, 0.99));
        say(`round ${index + 1}: ${peak.useful} of ${peak.sent} at 0.9 x; ${told(over)} at 2 x`);
      }
      return [goodputLine(median(shares)), healthLine(median(healthMs))];
    }),
} satisfies Bench;

function told({ sent, useful, refused, failed }: Report): string {
  return `${useful} of ${sent} useful, ${refused} refused, ${failed} failed`;
}

function goodputLine(share: number): Line {
  const figure = `${share.toFixed(0)} % of the app's capacity answered within ${usefulMs} ms at twice the load`;
  return { name: "overload, goodput lost", figure, value: 100 - share, unit: "%", target: 20 };
}

function healthLine(value: number): Line {
  const figure = `p99 of /v1.0/healthz meanwhile`;
  return { name: "overload, health", figure, value, unit: "ms", target: 100 };
}
