import { afterEach, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cleanup, eventually, type MechaProcess, mecha, startMecha } from "../mecha-process.ts";

// A killed mecha can end nothing itself: its apps end all the same, with what they started.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
const env = { PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin" };

/**
 * Notes who it is: the app, and a child of its own that does not listen to TERM. Without its stderr, whose reader is
 * dead: the shell has something to say of a TERM, and would end of that.
 */
const appSource = `
exec 2> /dev/null
trap 'echo "ended 0" >> "$NOTES"; exit 0' TERM
(trap '' TERM; while :; do sleep 0.1; done) &
echo "child $!" >> "$NOTES"
echo "app $$" >> "$NOTES"
while :; do sleep 0.1; done
`;

function setUp(second: string) {
  const folder = cleanup.folder();
  writeFileSync(join(folder, "app.sh"), appSource);
  const notes = (appId: string): string => join(folder, `${appId}.notes`);
  const ids = ["plain", "second"];
  for (const id of ids) writeFileSync(notes(id), "");
  writeFileSync(
    join(folder, "mecha.yaml"),
    `version: 1
apps:
${ids
  .map(
    (id) => `  - appID: ${id}
    appDirPath: .
    command: ["sh", "app.sh"]
    env: { NOTES: ${JSON.stringify(notes(id))}, DAPR_GRACEFUL_SHUTDOWN_SECONDS: "3" }
${id === "second" ? second : ""}`,
  )
  .join("")}`,
  );
  const pidsOf = (id: string): number[] => {
    const lines = readFileSync(notes(id), "utf8");
    return [...lines.matchAll(/^(?:app|child) (\d+)$/gm)].map(([, pid]) => Number(pid));
  };
  /** Of all four, once their mechas have noted them too. */
  const pids = async (): Promise<number[]> => {
    const all = ids.flatMap(pidsOf);
    if (all.length < 4) throw new Error(`only ${all.length} of 4 processes have started`);
    const { output } = await mecha(["list", "--json", "--data-dir", join(folder, "data")], { env });
    const noted = (JSON.parse(output) as { appPid?: number }[]).map(({ appPid }) => appPid ?? 0);
    if (!noted.every((pid) => all.includes(pid)) || noted.length < 2) throw new Error(`noted: ${output}`);
    return all;
  };
  const run = (words: string[] = []): MechaProcess =>
    cleanup.process(
      startMecha(["run", "-f", folder, "--data-dir", join(folder, "data"), ...words], { env, folder }),
    );
  return { run, pids, notes: (id: string) => readFileSync(notes(id), "utf8") };
}

/** A dead process that nobody has waited for is dead. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !["Z", "X"].includes(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3));
  } catch {
    return false;
  }
}

async function expectAllDead(pids: readonly number[]): Promise<void> {
  await eventually(() => expect(pids.filter(isAlive)).toEqual([]), 60_000);
}

const linuxOnly = process.platform === "linux" ? test : test.skip;

linuxOnly(
  "apps of a node, a singleton too, end with their mecha after kill -9",
  async () => {
    const { run, pids, notes } = setUp("    singleton: true\n");
    const running = run();
    const started = await eventually(pids, 60_000);
    expect(started.filter(isAlive)).toEqual(started);
    running.child.kill("SIGKILL");
    await expectAllDead(started);
    // It had the time to end in order.
    expect(notes("plain")).toContain("ended 0");
  },
  120_000,
);

linuxOnly(
  "with a process each, a killed sidecar takes its app along, and the killed first process all of them",
  async () => {
    const { run, pids } = setUp("");
    const running = run(["--sidecars"]);
    const started = await eventually(pids, 60_000);
    const sidecar = parentOf(started[1] ?? 0);
    process.kill(sidecar, "SIGKILL");
    await expectAllDead(started.slice(0, 2));
    expect(started.slice(2).filter(isAlive)).toEqual(started.slice(2));
    running.child.kill("SIGKILL");
    await expectAllDead(started);
  },
  120_000,
);

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
