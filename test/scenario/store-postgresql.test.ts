import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Cleanup, eventually, freePort, type MechaProcess, mecha, startMecha } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";

const cleanup = new Cleanup();
let server: Service;
let address = "";

beforeAll(async () => {
  server = await startService("postgresql", { options: { fsync: "off" } });
  address = `postgresql://postgres:hush-hush@127.0.0.1:${server.port}/postgres`;
}, 120_000);
afterEach(() => cleanup.run());
afterAll(() => server.stop(), 60_000);

interface Machine {
  process: MechaProcess;
  url(path: string): string;
  isReady(): Promise<unknown>;
}

/** A runtime with a data folder of its own, as on a machine of its own. */
async function machine(appId: string, words: string[], env: Record<string, string>): Promise<Machine> {
  const http = await freePort();
  const ports = ["--dapr-http-port", String(http), "--dapr-grpc-port", "0", "--metrics-port", "0"];
  const data = ["--data-dir", join(cleanup.folder(), "data")];
  const all = ["run", "--app-id", appId, ...ports, ...data, ...words, "--", "sleep", "600"];
  const process = cleanup.process(startMecha(all, { env: { PATH: "/usr/bin:/bin", ...env } }));
  const url = (path: string) => `http://127.0.0.1:${http}${path}`;
  const isReady = () =>
    eventually(() =>
      answer(url("/v1.0/healthz")).catch((error) => {
        throw new Error(`${error}; it printed:\n${process.output()}`);
      }),
    );
  return { process, url, isReady };
}

async function answer(url: string, init: RequestInit = {}): Promise<string> {
  const reply = await fetch(url, init);
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
  return reply.text();
}

async function appPort(): Promise<number> {
  const app = createServer((_request, response) => response.end("from the other machine"));
  await new Promise<void>((listening) => app.listen(0, "127.0.0.1", listening));
  cleanup.add(() => app.close());
  return (app.address() as AddressInfo).port;
}

test("machines that name one PostgreSQL share state, find each other, and print no password", async () => {
  const env = { MECHA_STORE: address, DAPR_HOST_IP: "127.0.0.1" };
  const one = await machine("orders", ["--store", address], { DAPR_HOST_IP: "127.0.0.1" });
  const two = await machine("orders", [], env);
  const port = await appPort();
  const called = await machine("callee", ["--app-port", String(port)], env);
  await one.isReady();
  const body = JSON.stringify([{ key: "colour", value: "red" }]);
  await answer(one.url("/v1.0/state/statestore"), { method: "POST", body });
  await two.isReady();
  expect(await answer(two.url("/v1.0/state/statestore/colour"))).toBe('"red"');
  expect(await eventually(() => answer(one.url("/v1.0/invoke/callee/method/hello")))).toBe(
    "from the other machine",
  );
  for (const { process } of [one, two, called]) {
    expect(process.output()).not.toContain("hush-hush");
    expect(process.output()).toContain("mTLS between runtimes is strict, as spiffe://public/ns/default/");
  }
  const shown = await mecha(["identity", "show", "-o", "json", "--store", address], { env: {} });
  expect(JSON.parse(shown.output)).toMatchObject({ place: "the shared store", roots: [{ signs: true }] });
}, 60_000);

test("a copy takes an embedded store to PostgreSQL; check finds it sound", async () => {
  const folder = join(cleanup.folder(), "data");
  const env = { MECHA_STORE: "", HOME: folder };
  const schema = `${address}?schema=moved`;
  await mecha(["configuration", "set", "colour", "red", "--data-dir", folder], { env });
  const copied = await mecha(["store", "copy", "--from", folder, "--to", schema, "--json"], { env });
  expect(copied).toMatchObject({ code: 0 });
  expect(JSON.parse(copied.output)).toMatchObject({ keys: expect.any(Number) });
  const checked = await mecha(["store", "check", "--store", schema, "--json"], { env });
  expect(JSON.parse(checked.output.replace(/^problem.*\n/gm, ""))).toMatchObject({
    problems: [expect.stringContaining("fsync=off")],
    stats: { keys: JSON.parse(copied.output).keys },
  });
  const again = await mecha(["store", "copy", "--from", folder, "--to", schema], { env });
  expect(again.code).not.toBe(0);
  expect(again.output).toContain("holds data already");
  expect(again.output).not.toContain("hush-hush");
}, 60_000);

test("a copy is refused while a runtime uses either store, and made once it has ended", async () => {
  const env = { MECHA_STORE: "", HOME: cleanup.folder() };
  const schema = `${address}?schema=used`;
  const [used, empty] = [join(cleanup.folder(), "data"), join(cleanup.folder(), "data")];
  const copy = (from: string, to: string) => mecha(["store", "copy", "--from", from, "--to", to], { env });
  const one = await machine("orders", ["--data-dir", used], { MECHA_STORE: "" });
  const two = await machine("orders", ["--store", schema], { DAPR_HOST_IP: "127.0.0.1" });
  for (const { url, isReady } of [one, two]) {
    await isReady();
    await answer(url("/v1.0/state/statestore"), { method: "POST", body: '[{"key":"colour","value":"red"}]' });
  }
  for (const from of [used, schema]) {
    const refused = await copy(from, empty);
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain("the source is in use by a runtime: stop it first");
  }
  expect((await copy(empty, used)).output).toContain(`there is no store in ${empty}`);
  one.process.child.kill("SIGTERM");
  await one.process.ended;
  expect((await copy(used, schema)).output).toContain("holds data already");
  expect(await copy(used, empty)).toMatchObject({ code: 0 });
}, 60_000);
