import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Cleanup, eventually, freePort, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Ports {
  http: number;
  grpc: number;
  metrics: number;
}

async function daprd(words: string[] = [], env: Record<string, string> = {}) {
  const ports: Ports = { http: await freePort(), grpc: await freePort(), metrics: await freePort() };
  const data = join(cleanup.folder(), "data");
  const flags = [
    "--dapr-http-port",
    ports.http,
    "--dapr-grpc-port",
    ports.grpc,
    "--metrics-port",
    ports.metrics,
  ].map(String);
  const all = ["daprd", "--app-id", "orders", ...flags, "--data-dir", data, ...words];
  const process = cleanup.process(startMecha(all, { env }));
  return { process, ports, data, url: (path: string) => `http://127.0.0.1:${ports.http}${path}` };
}

const isReady = async (url: string): Promise<void> => {
  const reply = await fetch(url);
  if (reply.status !== 204) throw new Error(`${url} answered ${reply.status}`);
};

describe("mecha daprd", () => {
  test("starts with an empty environment, prints daprd's lines and has nothing implicit", async () => {
    const { process, url, data } = await daprd();
    await eventually(() => isReady(url("/v1.0/healthz")));
    await process.printed(/msg="dapr initialized. Status: Running. Init Elapsed \d+ms" app_id=orders/);
    for (const line of [
      "HTTP server is running on port",
      "API gRPC server is running on port",
      "internal gRPC server is running on port",
    ]) {
      expect(process.output()).toContain(line);
    }
    const metadata = (await (await fetch(url("/v1.0/metadata"))).json()) as {
      id: string;
      components: unknown[];
    };
    expect(metadata.id).toBe("orders");
    expect(metadata.components ?? []).toEqual([]);
    const missing = await fetch(url("/v1.0/state/statestore/a"));
    expect(missing.status).toBe(500);
    expect(await missing.json()).toMatchObject({ errorCode: "ERR_STATE_STORE_NOT_CONFIGURED" });
    expect(statSync(data).mode & 0o777).toBe(0o700);
    const extension = await fetch(url("/v1.0-alpha1/mecha/schedules"));
    expect(await extension.json()).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
  });

  test("jobs need no scheduler address: the engine is there, where daprd would fail the call", async () => {
    const jobs: string[] = [];
    const app = createServer((request, response) => {
      if (request.url?.startsWith("/job/")) jobs.push(request.url);
      response.end();
    });
    await new Promise<void>((done) => app.listen(0, "127.0.0.1", done));
    cleanup.add(() => app.close());
    const { port } = app.address() as AddressInfo;
    const { url } = await daprd(["--app-port", String(port)]);
    await eventually(() => isReady(url("/v1.0/healthz")));
    const body = JSON.stringify({ dueTime: "0s" });
    const reply = await fetch(url("/v1.0-alpha1/jobs/now"), { method: "POST", body });
    expect(reply.status).toBe(204);
    await eventually(() => expect(jobs).toEqual(["/job/now"]));
    const { scheduler } = (await (await fetch(url("/v1.0/metadata"))).json()) as { scheduler?: object };
    // Nor does it name a scheduler that is not there.
    expect(scheduler ?? {}).toEqual({});
  }, 60_000);

  test.each(["SIGTERM", "SIGINT"] as const)("%s drains and ends with exit code 0", async (signal) => {
    const { process, url, data } = await daprd();
    await eventually(() => isReady(url("/v1.0/healthz")));
    const list = async (): Promise<string> => (await mecha(["list", "--json", "--data-dir", data])).output;
    expect(JSON.parse(await list())).toMatchObject([{ appId: "orders", pid: process.child.pid }]);
    process.child.kill(signal);
    expect(await process.ended).toBe(0);
    expect(JSON.parse(await list())).toEqual([]);
    expect(process.output()).toContain("Daprd shutdown gracefully");
  });

  test("SIGHUP starts the runtime again on the same ports, with the changed configuration", async () => {
    const folder = cleanup.folder();
    writeFileSync(
      join(folder, "c.yaml"),
      "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {features: [{name: HotReload, enabled: false}]}\n",
    );
    const { process, url } = await daprd(["--resources-path", folder, "--config", join(folder, "c.yaml")]);
    await eventually(() => isReady(url("/v1.0/healthz")));
    writeFileSync(join(folder, "s.yaml"), component("late", "state.in-memory"));
    process.child.kill("SIGHUP");
    await process.printed("Component loaded: late (state.in-memory/v1)");
    await eventually(() => isReady(url("/v1.0/healthz")));
    expect((await fetch(url("/v1.0/state/late/x"))).status).toBe(204);
  });

  test("the shutdown API ends it with 0, and with 1 when forced", async () => {
    const graceful = await daprd();
    await eventually(() => isReady(graceful.url("/v1.0/healthz")));
    expect((await fetch(graceful.url("/v1.0/shutdown"), { method: "POST" })).status).toBe(204);
    expect(await graceful.process.ended).toBe(0);
    expect(graceful.process.output()).toContain("Shutdown requested via API");

    const forced = await daprd();
    await eventually(() => isReady(forced.url("/v1.0/healthz")));
    const headers = { "dapr-force-shutdown": "true" };
    expect((await fetch(forced.url("/v1.0/shutdown"), { method: "POST", headers })).status).toBe(204);
    expect(await forced.process.ended).toBe(1);
    expect(forced.process.output()).toContain(
      "Force shutdown requested, exiting immediately without graceful shutdown",
    );
  });

  test("a blocked shutdown keeps the API up until the time is over", async () => {
    const { process, url } = await daprd(["--dapr-block-shutdown-duration", "1s"]);
    await eventually(() => isReady(url("/v1.0/healthz")));
    process.child.kill("SIGTERM");
    await process.printed("Blocking graceful shutdown for 1s or until app reports unhealthy...");
    expect((await fetch(url("/v1.0/metadata"))).status).toBe(200);
    expect(await process.ended).toBe(0);
    expect(process.output()).toContain("Block shutdown period expired, entering shutdown...");
  });

  test.each([
    [["--app-id", ""], "app-id parameter cannot be empty"],
    [["--app-id", "a.b"], "parameter app-id cannot contain dots"],
    [["--app-id", "a", "--mode", "kubernetes"], "mode kubernetes is not implemented"],
    [["--app-id", "a", "--resources-path", "/no/such/folder"], "/no/such/folder"],
  ])("a fatal start error is one line and exit code 1: %p", async (words, text) => {
    const result = await mecha(["daprd", ...words, "--data-dir", cleanup.folder()]);
    expect(result.code).toBe(1);
    expect(result.output).toContain('level=fatal msg="Fatal error from runtime: ');
    expect(result.output).toContain(text);
  });

  test("a Configuration whose protection nobody would enforce is a fatal start error", async () => {
    const config = join(cleanup.folder(), "c.yaml");
    const spec = "spec: {mtls: {enabled: true, mode: off}}";
    writeFileSync(
      config,
      `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n${spec}\n`,
    );
    const words = ["--app-id", "a", "--config", config, "--data-dir", cleanup.folder()];
    const result = await mecha(["daprd", ...words]);
    expect(result.code).toBe(1);
    expect(result.output).toContain("leave one of them out");
  });

  test("an unknown flag shows the usage and ends with a non-zero code", async () => {
    const result = await mecha(["daprd", "--app-idd", "x"]);
    expect(result.code).toBe(2);
    expect(result.output).toContain("unknown flag: --app-idd");
    expect(result.output).toContain("did you mean --app-id?");
  });

  test("the API token is asked for, except by health probes", async () => {
    const { url } = await daprd([], { DAPR_API_TOKEN: "secret-1" });
    await eventually(() => isReady(url("/v1.0/healthz")));
    const refused = await fetch(url("/v1.0/metadata"));
    expect(refused.status).toBe(401);
    expect((await refused.text()).trim()).toBe("invalid api token");
    expect((await fetch(url("/v1.0/metadata"), { headers: { "dapr-api-token": "secret-1" } })).status).toBe(
      200,
    );
  });

  test("the public port has health and metadata only", async () => {
    const publicPort = await freePort();
    const { url } = await daprd(["--dapr-public-port", String(publicPort)]);
    await eventually(() => isReady(url("/v1.0/healthz")));
    const at = (path: string) => fetch(`http://127.0.0.1:${publicPort}${path}`);
    expect((await at("/v1.0/healthz")).status).toBe(204);
    expect((await at("/v1.0/metadata")).status).toBe(200);
    expect((await at("/v1.0/secrets/x/y")).status).toBe(404);
  });

  test("Unix sockets take the place of ports", async () => {
    const folder = cleanup.folder();
    const { process, ports } = await daprd(["--unix-domain-socket", folder]);
    const unix = join(folder, "dapr-orders-http.socket");
    await eventually(() => {
      if (!existsSync(unix)) throw new Error(`${unix} is not there: ${process.output()}`);
    });
    await eventually(async () => {
      const reply = await fetch("http://localhost/v1.0/healthz", { unix });
      if (reply.status !== 204) throw new Error(`healthz answered ${reply.status}`);
    });
    expect(
      await fetch(`http://127.0.0.1:${ports.http}/`).catch((error) => (error as Error).name),
    ).toBeString();
  });

  test("metrics are served with Dapr's names", async () => {
    const { url, ports } = await daprd();
    await eventually(() => isReady(url("/v1.0/healthz")));
    await fetch(url("/v1.0/metadata"));
    const text = await (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text();
    expect(text).toMatch(
      /dapr_http_server_request_count\{app_id="orders",method="GET",path="\/v1.0\/metadata",status="200"\} 1/,
    );
    expect(text).toContain("process_resident_memory_bytes");
  });

  test("waits for the app with its outbound side ready", async () => {
    const appPort = await freePort();
    const { process, url } = await daprd(["--app-port", String(appPort)]);
    await process.printed(`waiting for application to listen on port ${appPort}`);
    await eventually(() => isReady(url("/v1.0/healthz/outbound")));
    const unready = await fetch(url("/v1.0/healthz"));
    expect(unready.status).toBe(500);
    expect(await unready.json()).toMatchObject({ errorCode: "ERR_HEALTH_NOT_READY" });
    const app = createServer((_request, response) => response.end("hello")).listen(appPort, "127.0.0.1");
    cleanup.add(() => app.close());
    await process.printed(`application discovered on port ${appPort}`);
    await eventually(() => isReady(url("/v1.0/healthz")));
    expect(await (await fetch(url("/v1.0/invoke/orders/method/x"))).text()).toBe("hello");
  });
});

describe("hot reload", () => {
  test("takes good edits of components and keeps the old version of bad ones", async () => {
    const folder = join(cleanup.folder(), "resources");
    mkdirSync(folder);
    writeFileSync(join(folder, "a.yaml"), component("first", "state.in-memory"));
    const { process, url } = await daprd(["--resources-path", folder]);
    await eventually(() => isReady(url("/v1.0/healthz")));
    await fetch(url("/v1.0/state/first"), { method: "POST", body: '[{"key":"k","value":1}]' });

    writeFileSync(join(folder, "b.yaml"), component("second", "state.in-memory"));
    await process.printed("second (state.in-memory/v1)");
    expect((await fetch(url("/v1.0/state/second/k"))).status).toBe(204);

    writeFileSync(
      join(folder, "a.yaml"),
      "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: first\nspec:\n  typ: state.in-memory\n",
    );
    await process.printed(/a\.yaml:\d+:\d+/);
    expect(await (await fetch(url("/v1.0/state/first/k"))).text()).toBe("1");
  });
});

function component(name: string, type: string): string {
  return `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: ${name}\nspec:\n  type: ${type}\n  version: v1\n`;
}
