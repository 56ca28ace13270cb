import { afterEach, expect, test } from "bun:test";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort, startMecha as startProcess } from "../mecha-process.ts";

// While the app says that it is not well, nothing new comes to it; a blocked shutdown waits for that very word.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function sickApp(slowMs = 0) {
  const health = { status: 200 };
  const app = await fakeApp({
    subscriptions: [{ pubsubname: "pubsub", topic: "orders", route: "/orders" }],
    handlers: {
      "GET /alive": () => health,
      "POST /orders": () => ({ status: 200 }),
      "GET /slow": async () => {
        await Bun.sleep(slowMs);
        return { status: 200 };
      },
    },
  });
  cleanup.add(() => app.close());
  return { app, health };
}

test("an unhealthy app gets no events and no calls; healthy again, it gets what came meanwhile", async () => {
  const { app, health } = await sickApp();
  const appHealth = { path: "/alive", probeIntervalMs: 20, probeTimeoutMs: 1000, threshold: 1 };
  const mecha = await startMecha({ apps: [{ appId: "shop", app, options: { appHealth } }] });
  cleanup.add(() => mecha.stop());
  const publish = (n: number) =>
    mecha.http("shop", "POST /v1.0/publish/pubsub/orders", { body: { n } }).then(({ status }) => status);
  expect(await publish(1)).toBe(204);
  await eventually(() => expect(app.received("/orders")).toEqual([{ n: 1 }]));

  health.status = 503;
  await eventually(() => expect(mecha.log()).toContain("App entered un-healthy status"));
  expect(await publish(2)).toBe(204);
  const refused = await mecha.http("shop", "GET /v1.0/invoke/shop/method/slow");
  expect(refused).toMatchObject({ status: 500 });
  expect(refused.text).toContain("app is not in a healthy state");
  expect(app.received("/orders")).toHaveLength(1);

  health.status = 200;
  await eventually(() => expect(app.received("/orders")).toEqual([{ n: 1 }, { n: 2 }]));
  expect((await mecha.http("shop", "GET /v1.0/invoke/shop/method/slow")).status).toBe(200);
});

async function daprd(appPort: number, words: string[]) {
  const port = await freePort();
  const process = cleanup.process(
    startProcess([
      ...["daprd", "--app-id", "shop", "--app-port", String(appPort), "--dapr-http-port", String(port)],
      ...["--dapr-grpc-port", "0", "--metrics-port", "0", "--data-dir", cleanup.folder(), ...words],
    ]),
  );
  await process.printed("dapr initialized. Status: Running.");
  return { process, url: (path: string) => `http://127.0.0.1:${port}${path}` };
}

const blocked = ["--dapr-block-shutdown-duration", "1h"];
const probed = [
  ...["--enable-app-health-check", "--app-health-check-path", "/alive"],
  ...["--app-health-probe-interval", "1", "--app-health-threshold", "1"],
];

test("a blocked shutdown goes on when the app reports unhealthy", async () => {
  const { app, health } = await sickApp();
  const { process, url } = await daprd(app.port, [...blocked, ...probed]);
  process.child.kill("SIGTERM");
  await process.printed("Blocking graceful shutdown for 1h0m0s or until app reports unhealthy...");
  expect((await fetch(url("/v1.0/invoke/shop/method/slow"))).status).toBe(200);
  health.status = 500;
  expect(await process.ended).toBe(0);
  expect(process.output()).toContain("App reported unhealthy, entering shutdown...");
});

test("a second signal ends a blocked shutdown", async () => {
  const { app } = await sickApp();
  const { process } = await daprd(app.port, blocked);
  process.child.kill("SIGTERM");
  await process.printed("Blocking graceful shutdown");
  process.child.kill("SIGTERM");
  expect(await process.ended).toBe(0);
});

test("a shutdown lets calls end, and cuts those that take longer than it may last", async () => {
  const { app } = await sickApp(400);
  const patient = await daprd(app.port, []);
  const answer = fetch(patient.url("/v1.0/invoke/shop/method/slow"));
  await eventually(() => expect(app.requests.at(-1)?.target).toBe("/slow"));
  patient.process.child.kill("SIGTERM");
  expect((await answer).status).toBe(200);
  expect(await patient.process.ended).toBe(0);

  const { app: slower } = await sickApp(30_000);
  const hurried = await daprd(slower.port, ["--dapr-graceful-shutdown-seconds", "1"]);
  const lost = fetch(hurried.url("/v1.0/invoke/shop/method/slow")).catch(() => "cut");
  await eventually(() => expect(slower.requests.at(-1)?.target).toBe("/slow"));
  hurried.process.child.kill("SIGTERM");
  expect(await hurried.process.ended).toBe(1);
  expect(hurried.process.output()).toContain("Graceful shutdown timeout exceeded, forcing shutdown");
  await lost;
});
