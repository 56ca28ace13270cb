import { type Bench, median } from "./harness/bench.ts";
import { builtMecha, startMecha } from "./harness/mecha.ts";
import { residentBytes } from "./harness/proc.ts";

const idleMs = 5_000;

/** Resident memory of the built executable, idle, with all default components. */
export default {
  name: "memory",
  async run({ rounds, say }) {
    const program = await builtMecha(say);
    const megabytes: number[] = [];
    for (let index = 0; index < rounds; index++) {
      const mecha = await startMecha({ program });
      // Nothing to wait for: what is measured is that nothing happens.
      await new Promise((done) => setTimeout(done, idleMs));
      megabytes.push(residentBytes(mecha.pid) / 1e6);
      await mecha.stop();
    }
    const value = median(megabytes);
    const figure = `${value.toFixed(1)} MB after ${idleMs / 1000} s idle`;
    return [{ name: "idle resident memory, executable", figure, value, unit: "MB", target: 90 }];
  },
} satisfies Bench;
