import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runReadme } from "../../test/readme.ts";

const root = resolve(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "mecha-effects-"));
const env = { ...process.env, MECHA_HOME: home };
let runtime: ChildProcess;
let output = "";
let api = "";

beforeAll(async () => {
  runtime = spawn(join(root, "mecha"), ["run", "-f", join(root, "examples", "effects")], { env });
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  await until(() => {
    const listed = spawnSync(join(root, "mecha"), ["list", "--json"], { env, encoding: "utf8" });
    const apps = listed.status === 0 ? (JSON.parse(listed.stdout) as Listed[]) : [];
    const port = apps.find(({ appId }) => appId === "shop")?.httpPort;
    api = `http://127.0.0.1:${port}/v1.0`;
    return port !== undefined;
  });
  await until(async () => (await fetch(`${api}/healthz`)).ok);
}, 60_000);

interface Listed {
  appId: string;
  httpPort: number;
}

afterAll(async () => {
  const ended = new Promise((done) => runtime.once("exit", done));
  runtime.kill("SIGTERM");
  await ended;
  rmSync(home, { recursive: true, force: true });
});

test("the effects example: an order that is sent twice happens once, and so does its payment", async () => {
  const replies = [await order("7"), await order("7")];
  expect(replies.map(({ status }) => status)).toEqual([201, 201]);
  expect(replies.map(({ body }) => body)).toEqual([
    { id: "7", left: 9 },
    { id: "7", left: 9 },
  ]);
  await until(() => output.includes("mail to ann@example.org: we have your order 7"));
  for (let times = 0; times < 2; times++) {
    await fetch(`${api}/publish/pubsub/paid?metadata.cloudevent.id=payment-1`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id: "7" }),
    });
  }
  await until(async () => ((await state("order-7")) as { status: string }).status === "paid");
  await until(() => output.includes("mail to ann@example.org: order 7 is paid"));
  expect(await state("stock-pen")).toBe(9);
  expect(output.split("mail to").length - 1).toBe(2);
}, 60_000);

test("the effects example: the README's commands", async () => {
  const port = Number(new URL(api).port);
  const printed = (await runReadme("effects", port, env)).toLowerCase();
  expect(printed.split("http/1.1 201").length - 1).toBe(2);
  expect(printed.split("idempotent-replayed: true").length - 1).toBe(1);
  expect(printed).toContain('"name":"remind-8"');
  await until(() => output.includes("mail to ben@example.org: order 8 is paid"));
}, 60_000);

async function order(id: string) {
  const answer = await fetch(`${api}/invoke/shop/method/order`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": `order-${id}` },
    body: JSON.stringify({ id, item: "pen", mail: "ann@example.org" }),
  });
  return { status: answer.status, body: await answer.json() };
}

async function state(key: string): Promise<unknown> {
  return (await fetch(`${api}/state/statestore/${key}`)).json();
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 40_000;
  for (;;) {
    const isReached = await (async () => isTrue())().catch(() => false);
    if (isReached) return;
    if (Date.now() > deadline) throw new Error(`waited in vain; mecha said\n${output}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
