import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";
import { key, saveOnce } from "./harness/state.ts";

export default {
  name: "get-state",
  run: (settings) =>
    withStarted(async (keep) => {
      const echo = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha());
      await saveOnce(mecha.httpPort);
      const path = `/v1.0/state/statestore/${key}`;
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => httpRound(mecha.pid, { port: mecha.httpPort, path }, seconds),
        yardstick: (seconds) => httpRound(echo.pid, { port: echo.port, path }, seconds),
      });
      return [ratioLine("get state, HTTP, embedded", 3, "Bun echo", rounds)];
    }),
} satisfies Bench;
