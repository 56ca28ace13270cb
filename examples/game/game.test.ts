import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runReadme } from "../../test/readme.ts";

const root = resolve(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "mecha-game-"));
const env = { ...process.env, MECHA_HOME: home };
let runtime: ChildProcess;
let output = "";
let actors = "";
let port = 0;

interface Table {
  refused?: string;
  isOpen: boolean;
  left: number;
  round: number;
  winner: string | null;
  story: string[];
}

beforeAll(open, 60_000);

async function open(): Promise<void> {
  runtime = spawn(join(root, "mecha"), ["run", "-f", join(root, "examples", "game")], { env });
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until(async () => {
    const listed = spawnSync(join(root, "mecha"), ["list", "--json"], { env, encoding: "utf8" });
    const [app] = JSON.parse(listed.stdout) as { httpPort: number }[];
    port = app?.httpPort ?? 0;
    actors = `http://127.0.0.1:${port}/v1.0/actors`;
    return (await fetch(`${actors}/Room/hall/method/look`, { method: "POST" })).ok;
  });
}

async function close(signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((done) => runtime.once("exit", done));
  runtime.kill(signal);
  await ended;
}

afterAll(async () => {
  await close("SIGTERM");
  rmSync(home, { recursive: true, force: true });
});

test("the game example: the README's commands begin a round", async () => {
  const printed = await runReadme("game", port, env);
  expect(printed).toContain('"story":["Ada takes 1, 20 left","Marvin takes ');
  expect(printed).not.toContain("refused");
  expect((await room("hall", "sit", {})).refused).toStartWith("who?");
}, 60_000);

test("the game example: who leaves a multiple of four beats the robot, which hears of it", async () => {
  await room("loft", "sit", { name: "Ada" });
  await room("loft", "sit", { name: "Marvin", kind: "Robot" });
  let table = await room("loft", "begin", { turnSeconds: 3600 });
  expect((await room("loft", "take", { name: "Marvin", matches: 1 })).refused).toBe("it is the turn of Ada");
  expect((await room("loft", "take", { name: "Ada", matches: 4 })).refused).toBe("nobody can take 4");
  while (table.isOpen) table = await room("loft", "take", { name: "Ada", matches: table.left % 4 });
  expect(table.winner).toBe("Ada");
  expect(table.story.slice(0, 2)).toEqual(["Ada takes 1, 20 left", "Marvin takes 1, 19 left"]);
  await until(async () => (await record("Player", "Ada")).won === 1);
  await until(async () => (await record("Robot", "Marvin")).lost === 1);
  expect(output).toContain("loft: Ada wins");
}, 60_000);

test("the game example: of many moves at the same moment one counts", async () => {
  for (const name of ["Ben", "Cy"]) await room("porch", "sit", { name });
  await room("porch", "begin", { turnSeconds: 3600 });
  const moves = Array.from({ length: 20 }, () => room("porch", "take", { name: "Ben", matches: 2 }));
  const refused = (await Promise.all(moves)).filter((table) => table.refused === "it is the turn of Cy");
  expect(refused.length).toBe(19);
  expect((await room("porch", "look", {})).left).toBe(19);
}, 60_000);

test("the game example: players who sleep lose their turns to a timer until the matches are gone", async () => {
  for (const name of ["Dot", "Eve"]) await room("cellar", "sit", { name });
  await room("cellar", "begin", { turnSeconds: 0.02 });
  await until(async () => !(await room("cellar", "look", {})).isOpen);
  const { story, winner } = await room("cellar", "look", {});
  expect(story.length).toBe(21);
  expect(story[20]).toBe("Dot is asleep and takes 1, 0 left");
  expect(winner).toBe("Dot");
  await until(async () => (await record("Player", "Eve")).lost === 1);
}, 60_000);

test("the game example: a round outlives the runtime, and its reminder ends it", async () => {
  for (const name of ["Fay", "Gus"]) await room("roof", "sit", { name });
  await room("roof", "begin", { turnSeconds: 3600, roundSeconds: 3 });
  await room("roof", "take", { name: "Fay", matches: 3 });
  await room("yard", "sit", { name: "Hal" });
  await room("yard", "sit", { name: "Ivy" });
  await room("yard", "begin", { turnSeconds: 0.5 });
  const app = appOf(runtime.pid);
  await close("SIGKILL");
  process.kill(app, "SIGKILL");
  await open();
  expect(await room("roof", "look", {})).toMatchObject({ left: 18, winner: null, round: 1 });
  await until(async () => (await record("Player", "Fay")).drawn === 1);
  await until(async () => (await record("Player", "Gus")).drawn === 1);
  expect((await room("roof", "take", { name: "Gus", matches: 1 })).refused).toBe("there is no round");
  // Its timer was lost with the process: the room sets it again when it wakes up.
  await until(async () => (await room("yard", "look", {})).left < 21);
}, 120_000);

/** The runtime that is killed can not end its app. */
function appOf(pid: number | undefined): number {
  const [app] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  return Number(app);
}

function room(id: string, method: string, body: object): Promise<Table> {
  return call<Table>("Room", id, method, body);
}

function record(type: string, id: string) {
  return call<{ won: number; lost: number; drawn: number }>(type, id, "record", {});
}

async function call<T>(type: string, id: string, method: string, body: object): Promise<T> {
  const headers = { "content-type": "application/json" };
  const target = `${actors}/${type}/${id}/method/${method}`;
  const answer = await fetch(target, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${target} answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 50_000;
  for (;;) {
    const isReached = await (async () => isTrue())().catch(() => false);
    if (isReached) return;
    if (Date.now() > deadline) throw new Error(`waited in vain; mecha said\n${output}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
