// The demo of `npm start`: two apps on the official JavaScript SDK, 500 checkouts, and a runtime that is killed with
// -9 three times in between. Exit code 0 when nothing was lost.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";

import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../../scripts/free-port.ts";

const root = resolve(import.meta.dirname, "../..");
const total = Number(process.env.CHECKOUTS ?? 500);
const killsAfter = [0.2, 0.5, 0.8].map((share) => Math.floor(total * share));
const stayUp = !process.argv.includes("--once");
/** Components instead of the embedded ones: `--resources DIR`. */
const resources = process.argv.includes("--resources")
  ? resolve(process.argv[process.argv.indexOf("--resources") + 1] ?? ".")
  : undefined;
const deadlineMs = 180_000;
const folder = mkdtempSync(join(tmpdir(), "mecha-checkout-"));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

interface DemoApp {
  appId: string;
  appPort: number;
  httpPort: number;
  grpcPort: number;
  metricsPort: number;
}

const order = await newApp("order");
const inventory = await newApp("inventory");
const dashboardPort = await freePort();
const runFile = join(folder, "mecha.yaml");
writeFileSync(runFile, runFileText([inventory, order]));

const processes = new Set<ChildProcess>();
let runtime: ChildProcess;
let isEnding = false;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => void stop(signal === "SIGINT" ? 130 : 0));

try {
  await main();
} catch (error) {
  say(`the demo failed: ${(error as Error).message}`);
  await stop(1);
}

async function main(): Promise<void> {
  say(
    "mecha checkout demo: an order service and an inventory service (official JavaScript SDK), one runtime for both",
  );
  if (resources !== undefined) say(`  components of ${resources}`);
  startApp(inventory);
  startApp(order);
  const startedAt = performance.now();
  runtime = startRuntime();
  await ready();
  say(
    `  runtime ready, both apps connected (${Math.round(performance.now() - startedAt)} ms), data in ${folder}`,
  );

  say(`  ${total} checkouts: invoke order → invoke inventory → save state → publish → deliver → save state`);
  const kills = await checkouts();
  await allBooked();
  const tally = await count();
  report(tally, kills);
  const isWhole = tally.orders === total && tally.reservations === total && tally.booked === total;
  if (!stayUp) await stop(isWhole ? 0 : 1);
  if (!isWhole) await stop(1);
  say("");
  say(`  still up: dashboard  http://127.0.0.1:${dashboardPort}/`);
  say(`            state      curl http://127.0.0.1:${order.httpPort}/v1.0/state/statestore/order-1`);
  const call = `http://127.0.0.1:${order.httpPort}/v1.0/invoke/order/method/checkout`;
  say(`            checkout   curl -X POST ${call} -d '{"orderId":"mine","item":"book"}'`);
  say("            Ctrl-C stops everything");
}

/** Drives all checkouts, 16 at a time, each again until it is accepted; kills the runtime on the way. */
async function checkouts(): Promise<number> {
  let next = 1;
  let accepted = 0;
  let kills = 0;
  let killing: Promise<void> = Promise.resolve();
  const worker = async (): Promise<void> => {
    while (next <= total) {
      await checkout(`order-${next++}`);
      accepted++;
      if (accepted === killsAfter[kills]) {
        kills++;
        killing = killing.then(() => killRuntime(kills, accepted));
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  await killing;
  return kills;
}

async function checkout(orderId: string): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (Date.now() < deadline) {
    try {
      const reply = await fetch(`http://127.0.0.1:${order.httpPort}/v1.0/invoke/order/method/checkout`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ orderId, item: "book" }),
        signal: AbortSignal.timeout(10_000),
      });
      const text = await reply.text();
      if (reply.ok && text.includes('"accepted":true')) return;
    } catch {
      // The runtime is down: the shop's front end tries again.
    }
    await Bun.sleep(20);
  }
  throw new Error(`checkout ${orderId} was not accepted within ${deadlineMs / 1000} s`);
}

async function killRuntime(kill: number, accepted: number): Promise<void> {
  const startedAt = performance.now();
  const ended = new Promise((done) => runtime.once("exit", done));
  runtime.kill("SIGKILL");
  await ended;
  processes.delete(runtime);
  runtime = startRuntime();
  await ready();
  say(
    `  kill -9 no. ${kill} after ${accepted} checkouts; runtime is back after ${Math.round(performance.now() - startedAt)} ms`,
  );
}

async function allBooked(): Promise<void> {
  await waitFor(
    "all orders to be booked",
    async () => (await countKeys(inventory, "booked-order-")) === total,
  );
}

async function count(): Promise<{ orders: number; reservations: number; booked: number }> {
  const [orders, reservations, booked] = await Promise.all([
    countKeys(order, "order-"),
    countKeys(inventory, "reservation-order-"),
    countKeys(inventory, "booked-order-"),
  ]);
  return { orders, reservations, booked };
}

async function countKeys(app: DemoApp, prefix: string): Promise<number> {
  const keys = Array.from({ length: total }, (_, index) => `${prefix}${index + 1}`);
  const reply = await fetch(`http://127.0.0.1:${app.httpPort}/v1.0/state/statestore/bulk`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ keys, parallelism: 100 }),
  });
  if (!reply.ok) throw new Error(`reading the tally failed: ${reply.status} ${await reply.text()}`);
  const items = (await reply.json()) as { data?: unknown }[];
  return items.filter((item) => item.data !== undefined && item.data !== null).length;
}

function report(tally: { orders: number; reservations: number; booked: number }, kills: number): void {
  const lost = 3 * total - tally.orders - tally.reservations - tally.booked;
  say("");
  say(`  orders        ${String(tally.orders).padStart(4)} of ${total}`);
  say(`  reservations  ${String(tally.reservations).padStart(4)} of ${total}`);
  say(`  messages      ${String(tally.booked).padStart(4)} of ${total} handled`);
  say(`  lost          ${String(lost).padStart(4)}   (runtime killed with -9 ${kills} times)`);
}

async function ready(): Promise<void> {
  for (const app of [inventory, order]) {
    await waitFor(`the runtime of ${app.appId}`, async () => {
      const health = await fetch(`http://127.0.0.1:${app.httpPort}/v1.0/healthz`);
      if (health.status !== 204) return false;
      const ping = await fetch(`http://127.0.0.1:${app.appPort}/`).catch(() => undefined);
      return ping !== undefined;
    });
  }
}

async function waitFor(what: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (Date.now() < deadline) {
    if (await check().catch(() => false)) return;
    await Bun.sleep(25);
  }
  throw new Error(`waited ${deadlineMs / 1000} s for ${what}`);
}

function startRuntime(): ChildProcess {
  const words = [
    "run",
    "-f",
    runFile,
    "--data-dir",
    join(folder, "data"),
    "--dashboard-port",
    String(dashboardPort),
  ];
  const child = spawn(process.execPath, [join(root, "src/main.ts"), ...words], {
    stdio: ["ignore", "ignore", process.env.DEMO_VERBOSE === undefined ? "ignore" : "inherit"],
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
  });
  processes.add(child);
  return child;
}

function startApp(app: DemoApp): void {
  const child = spawn("node", [join(root, "examples/checkout", `${app.appId}.mjs`)], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
      APP_PORT: String(app.appPort),
      DAPR_HTTP_PORT: String(app.httpPort),
      DAPR_GRPC_PORT: String(app.grpcPort),
      APP_ID: app.appId,
    },
  });
  child.once("exit", (code) => {
    if (!isEnding) void stop(1, `${app.appId} ended with exit code ${code}`);
  });
  processes.add(child);
}

async function stop(code: number, why?: string): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  if (why !== undefined) say(`the demo failed: ${why}`);
  const ends = [...processes].map(
    (child) => new Promise((done) => (child.exitCode === null ? child.once("exit", done) : done(0))),
  );
  for (const child of processes) child.kill("SIGTERM");
  await Promise.race([Promise.all(ends), Bun.sleep(8000)]);
  for (const child of processes) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

async function newApp(appId: string): Promise<DemoApp> {
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const;
  return { appId, appPort: ports[0], httpPort: ports[1], grpcPort: ports[2], metricsPort: ports[3] };
}

function runFileText(apps: readonly DemoApp[]): string {
  const entries = apps.map(
    (app) =>
      `  - appID: ${app.appId}\n    appPort: ${app.appPort}\n    daprHTTPPort: ${app.httpPort}\n` +
      `    daprGRPCPort: ${app.grpcPort}\n    metricsPort: ${app.metricsPort}\n`,
  );
  const common =
    resources === undefined ? "" : `common:\n  resourcesPaths:\n    - ${JSON.stringify(resources)}\n`;
  return `version: 1\n${common}apps:\n${entries.join("")}`;
}
