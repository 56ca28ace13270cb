import { type Bench, type Line, median } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { appId, type Mecha, startMecha } from "./harness/mecha.ts";
import { residentBytes } from "./harness/proc.ts";
import { type Program, runProgram, startProgram } from "./harness/program.ts";

const gibibyte = 2 ** 30;
const sampleMs = 20;
const warmUpBytes = 64 << 20;

/** How much memory of the runtime a body of 1 GiB takes on its way, down and up. */
export default {
  name: "stream",
  run: ({ rounds, say }) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("stream-app"));
      const mecha = await keep(
        startMecha({ appPort: app.port, flags: ["--dapr-http-max-request-size", "2048"] }),
      );
      const lines: Line[] = [];
      for (const direction of ["down", "up"] as const) {
        await growthOf(mecha, app, direction, warmUpBytes);
        const growths: number[] = [];
        for (let index = 0; index < rounds; index++) {
          growths.push((await growthOf(mecha, app, direction, gibibyte)) / 2 ** 20);
          say(`${direction}, round ${index + 1}: ${growths.at(-1)?.toFixed(1)} MiB`);
        }
        const value = median(growths);
        const figure = `${value.toFixed(1)} MiB more than before, at most, while it passes`;
        lines.push({ name: `1 GiB streamed ${direction}`, figure, value, unit: "MB", target: 32 });
      }
      return lines;
    }),
} satisfies Bench;

async function growthOf(
  mecha: Mecha,
  app: Program,
  direction: "down" | "up",
  bytes: number,
): Promise<number> {
  const before = residentBytes(mecha.pid);
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, residentBytes(mecha.pid));
  }, sampleMs);
  const path = `/v1.0/invoke/${appId}/method/${bytes}`;
  try {
    const arrived = Number(
      await runProgram("stream-load", [String(mecha.httpPort), path, String(bytes), direction]),
    );
    if (arrived < bytes) throw new Error(`${arrived} of ${bytes} bytes arrived (app on ${app.port})`);
  } finally {
    clearInterval(timer);
  }
  return most - before;
}
