import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";
import { saveLoad } from "./harness/state.ts";

/** Each answer comes after the fsync of the commit that holds the write. */
export default {
  name: "save-state",
  run: (settings) =>
    withStarted(async (keep) => {
      const echo = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha());
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => httpRound(mecha.pid, saveLoad(mecha.httpPort), seconds),
        yardstick: (seconds) => httpRound(echo.pid, saveLoad(echo.port), seconds),
      });
      return [ratioLine("save state, HTTP, embedded, fsynced", 5, "Bun echo", rounds)];
    }),
} satisfies Bench;
