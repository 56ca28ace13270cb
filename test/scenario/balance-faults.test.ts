import { afterEach, expect, test } from "bun:test";
import { Cleanup, eventually } from "../mecha-process.ts";
import { Fleet, load } from "./balance-fixture.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const retries = '  retries: { attempts: 3, retryOn: "5xx,reset,connect-failure" }\n';

/** Makes calls go on for as many more. */
async function more(running: { readonly calls: number }, count: number): Promise<void> {
  const end = running.calls + count;
  await eventually(() => {
    if (running.calls < end) throw new Error(`${running.calls} of ${end} calls were made`);
  });
}

test("an instance killed under load fails no idempotent call that may be retried", async () => {
  const fleet = new Fleet(
    cleanup,
    `${retries}  loadBalancer: {}\n  outlierDetection: { consecutive5xxErrors: 2 }\n`,
  );
  const slow = async (): Promise<{ body: string }> => {
    await Bun.sleep(5);
    return { body: "ok" };
  };
  await fleet.startCaller();
  const instances = [];
  for (let i = 0; i < 3; i++) instances.push(await fleet.startHttp(slow));
  await fleet.known(3);
  const running = load(async () => {
    const response = await fleet.get("/x");
    const text = await response.text();
    return response.status === 200 && text === "ok" ? undefined : `${response.status} ${text}`;
  });
  await more(running, 200);
  instances[0]?.child.kill("SIGKILL");
  await instances[0]?.ended;
  await more(running, 300);
  expect(await running.stop()).toEqual([]);
  await fleet.known(2);
}, 60_000);

// With mTLS the connections to an instance are channels of one.
test.each([
  ["", []],
  [" over mTLS", ["--enable-mtls"]],
])("a rolling restart of five instances fails no call%s", rollingRestart, 120_000);

async function rollingRestart(_: string, words: string[]): Promise<void> {
  const fleet = new Fleet(cleanup, `${retries}  loadBalancer: { simple: ROUND_ROBIN }\n`, words);
  await fleet.startCaller();
  const start = () => fleet.startHttp(() => ({ body: "ok" }));
  const instances = await Promise.all([start(), start(), start(), start(), start()]);
  await fleet.known(5);
  const running = load(async () => {
    const response = await fleet.get("/x");
    const text = await response.text();
    return response.status === 200 && text === "ok" ? undefined : `${response.status} ${text}`;
  }, 4);
  for (const instance of instances) {
    await start();
    instance.child.kill("SIGTERM");
    await instance.ended;
    await more(running, 50);
  }
  expect(await running.stop()).toEqual([]);
  await fleet.known(5);
}

test("the same over gRPC: a killed instance fails no call that is tried again", async () => {
  const fleet = new Fleet(
    cleanup,
    `  retries: { attempts: 3, retryOn: "unavailable" }\n  loadBalancer: {}\n`,
  );
  await fleet.startCaller();
  const instances = [];
  for (let i = 0; i < 3; i++) instances.push(await fleet.startGrpc(() => Buffer.from("ok")));
  const call = fleet.grpc();
  await fleet.known(3, call);
  const running = load(async () => ((await call()) === "ok" ? undefined : "another answer"));
  await more(running, 200);
  instances[0]?.child.kill("SIGKILL");
  await instances[0]?.ended;
  await more(running, 300);
  expect(await running.stop()).toEqual([]);
  await fleet.known(2, call);
}, 60_000);
