import { type Bench, type Line, median, ratioLine, type Settings, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { appId, type Mecha, startMecha } from "./harness/mecha.ts";
import { startProgram, statusOf } from "./harness/program.ts";

const type = "Echo";
const actorCount = 1000;
/** An activation is a commit and a call. */
const activationTargetMs = 0.2;

/** Calls of actors that are awake, beside plain calls of the same app by the same runtime; and calls that wake one up. */
export default {
  name: "actors",
  run: (settings) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("actor-echo"));
      const mecha = await keep(startMecha({ appPort: app.port }));
      await untilHosted(mecha);
      return [await callLine(settings, mecha), await activationLine(settings, mecha)];
    }),
} satisfies Bench;

async function callLine(settings: Settings, { pid, httpPort: port }: Mecha): Promise<Line> {
  const path = `/v1.0/actors/${type}/awake-{n}/method/hello`;
  const rounds = await takeTurns(settings, {
    mecha: (seconds) => httpRound(pid, { port, path, numbers: actorCount }, seconds),
    yardstick: (seconds) => httpRound(pid, { port, path: `/v1.0/invoke/${appId}/method/hello` }, seconds),
  });
  const perCpuSecond = median(rounds.map(({ mecha }) => mecha.requests / (mecha.cpuUs / 1e6)));
  const line = ratioLine("actor call, HTTP", 1.5, "plain invoke", rounds);
  return { ...line, figure: `${line.figure}, ${Math.round(perCpuSecond)} per CPU second` };
}

async function activationLine(
  { rounds, secondsPerRound, say }: Settings,
  { pid, httpPort: port }: Mecha,
): Promise<Line> {
  const costs: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const path = `/v1.0/actors/${type}/asleep-${round}-{n}/method/hello`;
    const { requests, cpuUs, seconds } = await httpRound(pid, { port, path }, secondsPerRound);
    costs.push(cpuUs / requests / 1000);
    rates.push(requests / seconds);
    say(`round ${round + 1}: ${requests} activations, ${costs.at(-1)?.toFixed(3)} ms CPU each`);
  }
  const figure = `${Math.round(median(rates))} activations/s, each committed and fsynced`;
  return {
    ...{ name: "actor activation with its call, CPU", figure },
    ...{ value: median(costs), unit: "ms", target: activationTargetMs },
  };
}

async function untilHosted({ httpPort }: Mecha): Promise<void> {
  const deadline = Date.now() + 20_000;
  while ((await statusOf(httpPort, `/v1.0/actors/${type}/first/method/hello`)) !== 200) {
    if (Date.now() > deadline) throw new Error("the app's actors are not hosted");
  }
}
