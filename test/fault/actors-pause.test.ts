import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../../src/edges/simulated.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { type FakeApp, fakeApp } from "../../src/testing/index.ts";
import { eventually, type MechaProcess, startMecha } from "../mecha-process.ts";

// Hosts of actors are stopped for longer and shorter than their lease while everybody calls. Each turn reads a number
// and writes the next one through its own runtime: a commit of a host that lost the actor, or two turns at once that
// both commit, would write a number twice.

const leaseMs = 300;
const cyclesMax = Number(process.env.MECHA_PAUSE_CYCLES ?? 60);
const seed = Number(process.env.MECHA_SEED ?? Date.now() % 1_000_000);
const actors = ["a", "b", "c", "d", "e", "f"];
const folder = mkdtempSync(join(tmpdir(), "mecha-actors-pause-"));
const running: (MechaProcess | FakeApp)[] = [];

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function stopAll(): Promise<void> {
  for (const one of running) {
    if (!("child" in one)) continue;
    one.child.kill("SIGCONT");
    one.child.kill("SIGKILL");
    await one.ended;
  }
  for (const one of running.splice(0)) if (!("child" in one)) await one.close();
}

interface Host {
  process: MechaProcess;
  httpPort: number;
}

interface Turn {
  host: number;
  value: number;
}

let commits = new Map<string, Turn[]>();
let refused = 0;
/** Of the runtimes of a test. */
let data = "";

afterEach(stopAll);

test(
  "a stopped host commits nothing that it does not own any more",
  () => run("engine", cyclesMax),
  cyclesMax * 3000 + 60_000,
);

// A foreign store knows nothing of leases: a row with the activation is part of each transaction.
test(
  "the same with the actors' values in a state store of the user's",
  () => run("state.sqlite", Math.ceil(cyclesMax / 2)),
  cyclesMax * 3000 + 60_000,
);

test("a host whose lease another has comes back when it is free", async () => {
  data = join(folder, "shut-out");
  mkdirSync(join(data, "resources"), { recursive: true });
  const { httpPort, process: mecha } = await startHost(0);
  const health = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz`)).status;
  await eventually(async () => expect(await health()).toBe(204));
  const store = await openSqliteStore({ folder: data });
  try {
    const [host] = await store.list("actorhosts:default", { limit: 1 });
    const name = `actorhost:default:${host?.key}`;
    const held = await store.getLease(name);
    await store.releaseLease(name, held?.token ?? 0);
    const taken = await store.acquireLease(name, "shut-out", 60_000);
    await eventually(async () => expect(await health()).toBe(500));
    await mecha.printed("hosting actors could not change");
    if (taken.held) await store.releaseLease(name, taken.token);
    await eventually(async () => expect(await health()).toBe(204));
  } finally {
    await store.close();
  }
}, 90_000);

async function run(home: "engine" | "state.sqlite", cycles: number): Promise<void> {
  process.stdout.write(`actors-pause: ${home}, seed ${seed}, ${cycles} cycles\n`);
  data = join(folder, home);
  commits = new Map(actors.map((id) => [id, []]));
  refused = 0;
  mkdirSync(join(data, "resources"), { recursive: true });
  if (home === "state.sqlite") {
    writeFileSync(join(data, "resources", "state.yaml"), component(join(data, "state.db")));
  }
  const random = seededRandom(seed);
  const hosts = await Promise.all([0, 1, 2].map(startHost));
  const visitor = await startRuntime("visitor", []);
  let isOver = false;
  let answered = 0;
  const callers = actors.map(async (id) => {
    while (!isOver) if (await call(visitor.httpPort, id)) answered++;
  });
  await eventually(() => expect(answered).toBeGreaterThan(20));
  for (let cycle = 0; cycle < cycles; cycle++) {
    const { child } = (hosts[cycle % hosts.length] as Host).process;
    child.kill("SIGSTOP");
    await Bun.sleep(leaseMs * (0.2 + 2.8 * random.next()));
    child.kill("SIGCONT");
    await Bun.sleep(leaseMs * random.next());
  }
  // One dies for good: its actors go on elsewhere.
  hosts[0]?.process.child.kill("SIGKILL");
  const before = answered;
  await eventually(() => expect(answered).toBeGreaterThan(before + 20));
  isOver = true;
  await Promise.all(callers);
  for (const [id, turns] of commits) {
    const values = turns.map(({ value }) => value).sort((left, right) => left - right);
    expect([id, values]).toEqual([id, [...new Set(values)]]);
    // Of a commit at the moment of the kill the answer may be lost.
    expect((values.at(-1) ?? 0) - values.length).toBeLessThanOrEqual(1);
  }
  const moves = [...commits.values()].reduce((sum, turns) => sum + movesOf(turns), 0);
  process.stdout.write(
    `actors-pause: ${answered} answers, ${moves} moves between hosts, ${refused} commits refused\n`,
  );
  expect(moves).toBeGreaterThan(0);
  await standing(visitor, hosts.slice(1));
}

/** What the metadata and the health of the runtimes say after all that. */
async function standing(visitor: Host, hosts: Host[]): Promise<void> {
  for (const { httpPort } of [visitor, ...hosts]) {
    await eventually(async () => {
      const health = await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz`);
      expect([health.status, await health.text()]).toEqual([204, ""]);
    });
  }
  await eventually(async () => {
    // Those that had to move to a host that came back sleep until they are called.
    for (const id of actors) expect(await call(visitor.httpPort, id)).toBe(true);
    let active = 0;
    for (const { httpPort } of hosts) {
      const metadata = await (await fetch(`http://127.0.0.1:${httpPort}/v1.0/metadata`)).json();
      const { runtimeStatus, hostReady, activeActors } = (metadata as Metadata).actorRuntime;
      expect([runtimeStatus, hostReady]).toEqual(["RUNNING", true]);
      active += activeActors.find(({ type }) => type === "Counter")?.count ?? 0;
    }
    // Each of them in one place.
    expect(active).toBe(actors.length);
  });
}

interface Metadata {
  actorRuntime: {
    runtimeStatus: string;
    hostReady: boolean;
    activeActors: { type: string; count: number }[];
  };
}

function component(file: string): string {
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: state.sqlite
  version: v1
  metadata:
    - { name: connectionString, value: "${file}" }
    - { name: actorStateStore, value: "true" }
`;
}

function movesOf(turns: Turn[]): number {
  return turns.filter(({ host }, index) => index > 0 && host !== turns[index - 1]?.host).length;
}

async function call(port: number, id: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1.0/actors/Counter/${id}/method/add`, {
    method: "POST",
    signal: AbortSignal.timeout(20_000),
  }).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.status === 200;
}

async function startHost(index: number): Promise<Host> {
  const started: { httpPort?: number } = {};
  const app = await fakeApp({
    config: { entities: ["Counter"], drainOngoingCallTimeout: "1s" },
    async otherwise({ method, target }) {
      if (method === "DELETE") return {};
      const id = target.split("/")[3] ?? "";
      return { status: (await add(started.httpPort ?? 0, id, index)) ? 200 : 500 };
    },
  });
  running.push(app);
  const host = await startRuntime("counters", ["--app-port", String(app.port)]);
  started.httpPort = host.httpPort;
  return host;
}

/** One turn: read, pause, write the next number. */
async function add(port: number, id: string, host: number): Promise<boolean> {
  const state = `http://127.0.0.1:${port}/v1.0/actors/Counter/${id}/state`;
  const read = await fetch(`${state}/count`);
  if (read.status !== 200 && read.status !== 204) return false;
  const value = read.status === 204 ? 1 : ((await read.json()) as number) + 1;
  await Bun.sleep(5);
  const written = await fetch(state, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify([{ operation: "upsert", request: { key: "count", value } }]),
  });
  await written.body?.cancel();
  if (written.status === 204) commits.get(id)?.push({ host, value });
  else refused++;
  return written.status === 204;
}

async function startRuntime(appId: string, words: string[]): Promise<Host> {
  const ports = ["--dapr-http-port", "0", "--dapr-grpc-port", "0", "--metrics-port", "0"];
  const mecha = startMecha(
    [
      "run",
      "--app-id",
      appId,
      ...ports,
      "--data-dir",
      data,
      "--resources-path",
      join(data, "resources"),
      ...words,
    ],
    {
      env: { PATH: process.env.PATH ?? "", HOME: folder, MECHA_ACTOR_LEASE_MS: String(leaseMs) },
    },
  );
  running.push(mecha);
  const pattern = /HTTP server is running on port (\d+)/;
  await mecha.printed(pattern);
  await mecha.printed("dapr initialized");
  return { process: mecha, httpPort: Number(pattern.exec(mecha.output())?.[1]) };
}
