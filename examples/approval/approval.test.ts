import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runReadme } from "../../test/readme.ts";

const root = resolve(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "mecha-approval-"));
const env = { ...process.env, MECHA_HOME: home };
let runtime: ChildProcess;
let output = "";
let orders = "";

// The first time it installs the SDK.
beforeAll(async () => {
  await open();
}, 240_000);

async function open(): Promise<void> {
  runtime = spawn(join(root, "mecha"), ["run", "-f", join(root, "examples", "approval")], { env });
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until(async () => {
    const listed = mecha("list", "--json");
    const [app] = JSON.parse(listed) as { httpPort: number }[];
    orders = `http://127.0.0.1:${app?.httpPort}/v1.0/invoke/orders/method/orders`;
    return (await fetch(`${orders}/none`)).status === 404 && (await connectedWorkers(app?.httpPort)) > 0;
  }, 230_000);
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

test("the approval example: a small order needs nobody", async () => {
  await post("", { id: "1", item: "pen", amount: 3 });
  await until(async () => (await status("1")) === "shipped");
  expect(output).toContain("order 1: pen is on its way");
}, 60_000);

test("the approval example: an order without its amount is refused", async () => {
  const answer = await fetch(orders, { method: "POST", body: '{"id": "0", "item": "pen"}' });
  expect([answer.status, await answer.json()]).toEqual([400, { missing: ["amount"] }]);
}, 60_000);

test("the approval example: the README's commands", async () => {
  const printed = await runReadme("approval", Number(new URL(orders).port), env);
  expect(printed).toMatch(/order-7.*order-7/s);
  // The last command may be faster than the workflow.
  await until(async () => (await status("7")) === "shipped");
  expect(mecha("workflow", "show", "order-7")).toMatch(/COMPLETED.*wait +decision .*Ada.*activity +charge/s);
}, 60_000);

test("the approval example: a large order waits for a person, also over a restart", async () => {
  await post("", { id: "2", item: "desk", amount: 900 });
  await post("", { id: "3", item: "sofa", amount: 1900 });
  await until(async () => (await status("2")) === "waits for a decision");
  await until(async () => (await status("3")) === "waits for a decision");
  await close("SIGTERM");
  await open();
  expect(await status("2")).toBe("waits for a decision");
  await post("/2/decision", { by: "Ada", approved: true });
  mecha("workflow", "raise", "order-3", "decision", '{"by": "Bob", "approved": false}');
  await until(async () => (await status("2")) === "shipped");
  await until(async () => (await status("3")) === "refused");
  expect(mecha("workflow", "show", "order-2")).toMatch(/decision .*Ada/);
}, 240_000);

test("the approval example: an order that nobody decides on expires", async () => {
  await post("", { id: "4", item: "boat", amount: 90_000, patienceSeconds: 0.3 });
  await until(async () => (await status("4")) === "expired");
  expect(output).toContain("order 4: nobody decided in time");
  expect(mecha("workflow", "show", "order-4")).toMatch(/custom status +nobody decided/);
}, 60_000);

async function post(path: string, body: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${orders}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  expect(answer.status).toBe(202);
}

async function status(id: string): Promise<string> {
  return ((await (await fetch(`${orders}/${id}`)).json()) as { status: string }).status;
}

function mecha(...words: string[]): string {
  const done = spawnSync(join(root, "mecha"), words, { env, encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
  return done.stdout;
}

async function connectedWorkers(port: number | undefined): Promise<number> {
  const metadata = await (await fetch(`http://127.0.0.1:${port}/v1.0/metadata`)).json();
  return (metadata as { workflows?: { connectedWorkers: number } }).workflows?.connectedWorkers ?? 0;
}

async function until(isTrue: () => boolean | Promise<boolean>, deadlineMs = 50_000): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const isReached = await (async () => isTrue())().catch(() => false);
    if (isReached) return;
    if (Date.now() > deadline) throw new Error(`waited in vain; mecha said\n${output}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
