import { afterEach, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cleanup, eventually, type MechaProcess, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
const env = { PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin" };

/** Says every few milliseconds that it lives. */
const appSource = `
import { appendFileSync } from "node:fs";
const beat = (what) => appendFileSync(process.env.BEATS, what + " " + process.pid + "\\n");
beat("start");
setInterval(() => beat("beat"), 10);
`;

function setUp(singleton: string) {
  const folder = cleanup.folder();
  const beats = join(folder, "beats");
  writeFileSync(beats, "");
  writeFileSync(join(folder, "app.mjs"), appSource);
  writeFileSync(
    join(folder, "mecha.yaml"),
    `version: 1
apps:
  - appID: one
    appDirPath: .
    command: ["node", "app.mjs"]
    singleton: ${singleton}
    env: { BEATS: ${JSON.stringify(beats)} }
`,
  );
  const words = ["run", "-f", folder, "--data-dir", join(folder, "data")];
  const node = () => cleanup.process(startMecha(words, { env, folder }));
  const lines = () => readFileSync(beats, "utf8").trim().split("\n").filter(Boolean);
  const starts = () => lines().filter((line) => line.startsWith("start ")).length;
  return { folder, words, node, lines, starts };
}

/** Each process is silent for good when the next one has started. */
function expectOneAfterTheOther(lines: string[]): void {
  const seen: string[] = [];
  for (const line of lines) {
    const [what, pid = ""] = line.split(" ");
    if (what === "start") seen.push(pid);
    expect(pid).toBe(seen.at(-1) ?? "");
  }
}

function leads(node: MechaProcess): boolean {
  const { signalCode, exitCode } = node.child;
  const said = node.output().match(/app one (leads|stands)[^\n]*/g) ?? [];
  return signalCode === null && exitCode === null && /leads, term/.test(said.at(-1) ?? "");
}

async function theLeader(nodes: MechaProcess[], after: number, starts: () => number): Promise<MechaProcess> {
  return eventually(() => {
    if (starts() <= after) throw new Error(`the app was started ${starts()} times`);
    const leader = nodes.find(leads);
    if (leader === undefined) throw new Error("no node leads");
    return leader;
  }, 30_000);
}

test("an app runs in one of three nodes, and never in two, when its node is killed, stopped or ended", async () => {
  const { node, lines, starts } = setUp("{ leaseDuration: 1500ms }");
  const nodes = [node(), node(), node()];
  const first = await theLeader(nodes, 0, starts);
  first.child.kill("SIGKILL");
  const rest = nodes.filter((each) => each !== first);
  const second = await theLeader(rest, 1, starts);
  second.child.kill("SIGSTOP");
  const third = await theLeader(
    rest.filter((each) => each !== second),
    2,
    starts,
  );
  second.child.kill("SIGCONT");
  await second.printed("app one leads no more");
  await second.printed(/leads no more[\s\S]*app one stands by/);
  third.child.kill("SIGTERM");
  await theLeader([second], 3, starts);
  expect(await third.ended).toBe(0);
  expectOneAfterTheOther(lines());
}, 120_000);

test("with `singleton: true` the node that ends hands the app to the other at once", async () => {
  const { node, lines, starts } = setUp("true");
  const nodes = [node(), node()];
  const first = await theLeader(nodes, 0, starts);
  first.child.kill("SIGTERM");
  await theLeader(
    nodes.filter((each) => each !== first),
    1,
    starts,
  );
  expect(await first.ended).toBe(0);
  expectOneAfterTheOther(lines());
}, 60_000);

test("a singleton with a process per app is refused, and so is a lease that is too short", async () => {
  const { words, folder } = setUp("true");
  const refused = await mecha([...words, "--sidecars"], { env, folder });
  expect(refused.output).toContain("singleton of app one needs a node");
  const short = setUp("{ leaseDuration: 10ms }");
  const answer = await mecha(short.words, { env, folder: short.folder });
  expect(answer.output).toMatch(/mecha\.yaml:6:\d+: singleton\.leaseDuration has to be at least 500ms/);
});
