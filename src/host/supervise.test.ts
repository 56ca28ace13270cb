import { describe, expect, test } from "bun:test";
import { type ProcessState, supervise } from "./supervise.ts";

function start(command: string[], restart: "never" | "on-failure" | "always" = "never") {
  const lines: string[] = [];
  const states: ProcessState[] = [];
  const process = supervise({
    name: "app",
    command,
    folder: "/",
    env: { PATH: "/usr/bin:/bin" },
    restart,
    backoffMs: 1,
    stopTimeoutMs: 300,
    onLine: (line) => lines.push(line),
    onState: (state) => states.push(state),
  });
  return { process, lines, states };
}

async function until(what: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!what()) {
    if (Date.now() > deadline) throw new Error("the condition did not come true within 5 s");
    await Bun.sleep(5);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("supervise()", () => {
  test("hands on the lines and the exit code", async () => {
    const { process, lines } = start(["sh", "-c", "echo one; echo two >&2; exit 3"]);
    expect(await process.ended).toBe(3);
    expect(lines.sort()).toEqual(["one", "two"]);
  });

  test("starts a crashed app again, and not one that ended well", async () => {
    const { process, states } = start(["sh", "-c", "exit 1"], "on-failure");
    await until(() => states.filter((state) => state.name === "running").length >= 3);
    await process.stop();
    const well = start(["true"], "on-failure");
    expect(await well.process.ended).toBe(0);
    expect(well.states.filter((state) => state.name === "running")).toHaveLength(1);
  });

  test("ends the whole process group, and kills what does not listen", async () => {
    const { process, lines } = start([
      "sh",
      "-c",
      "trap '' TERM; sleep 1000 & echo $!; while :; do wait; done",
    ]);
    await until(() => lines.length === 1);
    const child = Number(lines[0]);
    expect(isAlive(child)).toBe(true);
    await process.stop();
    await until(() => !isAlive(child));
    expect(await process.ended).toBe(0);
  });

  test("says what could not be started", async () => {
    const { process, lines } = start(["/no/such/program"]);
    expect(await process.ended).toBe(127);
    expect(lines.join()).toContain("could not start /no/such/program");
  });

  test("tries once at a time what can not be started", async () => {
    const { process, lines, states } = start(["/no/such/program"], "on-failure");
    await until(() => lines.length >= 4);
    await process.stop();
    expect(states.map((state) => state.name)).toEqual(lines.map(() => "backing-off"));
  });
});
