import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runReadme } from "../../test/readme.ts";

const root = resolve(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "mecha-canary-"));
const example = join(home, "canary");
const env = { ...process.env, MECHA_HOME: join(home, "data") };
const traffic = join(example, "resources", "traffic.yaml");
const started: ChildProcess[] = [];
let output = "";
let api = "";

beforeAll(async () => {
  cpSync(import.meta.dirname, example, { recursive: true });
  start("mecha.yaml");
  await until("the shop runs", () => {
    const listed = spawnSync(join(root, "mecha"), ["list", "--json"], { env, encoding: "utf8" });
    const apps = listed.status === 0 ? (JSON.parse(listed.stdout) as Listed[]) : [];
    const port = apps.find(({ appId }) => appId === "shop")?.httpPort;
    api = `http://127.0.0.1:${port}/v1.0`;
    return port !== undefined && output.includes("shop is ready");
  });
  start("v2.yaml");
  await until("v2 runs", () => output.includes("orders v2 is ready"));
  await until("calls succeed", async () => (await tally()).v1 > 0);
}, 90_000);

interface Listed {
  appId: string;
  httpPort: number;
}

interface Tally {
  v1: number;
  v2: number;
  failed: number;
  slow: number;
  cached: number;
}

afterAll(async () => {
  const ended = started.map((one) => new Promise((done) => one.once("exit", done)));
  for (const one of started) one.kill("SIGTERM");
  await Promise.all(ended);
  rmSync(home, { recursive: true, force: true });
});

test("the canary example: from v1 to v2 by one file while traffic runs, and no call fails", async () => {
  const all: Tally = await tally();
  const follow = async (what: string, isReached: (tally: Tally) => boolean) => {
    await until(what, async () => {
      const latest = await tally();
      for (const name of ["v1", "v2", "failed", "slow", "cached"] as const) all[name] += latest[name];
      return isReached(latest);
    });
  };
  await follow("v1 answers everything", ({ v1, v2 }) => v1 > 10 && v2 === 0);

  step("2-mirror");
  await until("v2 is shown what v1 answers", () => output.includes("v2 has seen 50 requests"));
  await follow("v1 still answers everything", ({ v1, v2 }) => v1 > 10 && v2 === 0);

  step("3-canary");
  await follow("v2 answers some", ({ v1, v2 }) => v2 > 0 && v1 > v2);
  const chosen = await fetch(`${api}/invoke/orders/method/orders/1`, { headers: { "x-canary": "1" } });
  expect(await chosen.json()).toMatchObject({ version: "v2" });

  step("4-fault");
  await follow("some calls are late", ({ slow }) => slow > 0);

  step("5-cache");
  await follow("the catalogue comes from the cache", ({ cached }) => cached > 10);

  writeFileSync(traffic, readFileSync(traffic, "utf8").replace("weight: 50", "weight: -1"));
  await until("a mistake is refused with its place", () => /traffic\.yaml:\d+:\d+: .*weight/.test(output));
  await follow("the routes before it stay", ({ v1, v2, cached }) => v1 > 0 && v2 > 0 && cached > 0);

  step("6-new");
  await follow("v2 answers everything", ({ v1, v2 }) => v2 > 10 && v1 === 0);
  expect(all.failed).toBe(0);
}, 120_000);

test("the canary example: the README's commands", async () => {
  const file = join(root, "examples", "canary", "resources", "traffic.yaml");
  const before = readFileSync(file, "utf8");
  try {
    const printed = await runReadme("canary", Number(new URL(api).port), env);
    expect(printed).toContain('"version":"v2"');
    expect(printed).toContain('"failed":0');
  } finally {
    writeFileSync(file, before);
  }
}, 60_000);

function start(file: string): void {
  const runtime = spawn(join(root, "mecha"), ["run", "-f", join(example, file)], { env });
  started.push(runtime);
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
}

function step(name: string): void {
  copyFileSync(join(example, "steps", `${name}.yaml`), traffic);
}

async function tally(): Promise<Tally> {
  return (await (await fetch(`${api}/invoke/shop/method/tally`)).json()) as Tally;
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 40_000;
  for (;;) {
    if (await isTrue()) return;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}; mecha said\n${output}`);
    await new Promise((done) => setTimeout(done, 200));
  }
}
