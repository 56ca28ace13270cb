import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type AppRequest, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { goWasm } from "../sdk/toolchain.ts";

// A guest of http-wasm that Go has made (test/sdk/wasm-guest), in the pipeline of an app.

let folder: string;
let url: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-wasm-"));
  url = pathToFileURL(await goWasm(new URL("../sdk/wasm-guest", import.meta.url).pathname)).href;
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(items: Record<string, string> = {}): Promise<{ mecha: TestMecha; seen: AppRequest[] }> {
  const seen: AppRequest[] = [];
  const app = await fakeApp({
    otherwise: (request) => {
      seen.push(request);
      return { body: `${request.method} ${request.target} ${request.text}`, headers: { "X-App": "yes" } };
    },
  });
  closers.push(() => app.close());
  const config = join(folder, "config.yaml");
  const head = { apiVersion: "dapr.io/v1alpha1", metadata: { name: "guest" } };
  const handlers = [{ name: "guest", type: "middleware.http.wasm" }];
  writeFileSync(
    config,
    JSON.stringify({ ...head, kind: "Configuration", spec: { httpPipeline: { handlers } } }),
  );
  const metadata = Object.entries({ url, ...items }).map(([name, value]) => ({ name, value }));
  const spec = { type: "middleware.http.wasm", version: "v1", metadata };
  const mecha = await startMecha({
    apps: [{ appId: "orders", app, options: { configPaths: [config] } }],
    resources: JSON.stringify({ ...head, kind: "Component", spec }),
  });
  closers.push(() => mecha.stop());
  return { mecha, seen };
}

const call = (
  mecha: TestMecha,
  request: string,
  options: { body?: string; headers?: Record<string, string> } = {},
) => {
  const [method, path] = request.split(" ");
  return mecha.http("orders", `${method} /v1.0/invoke/orders/method${path}`, options);
};

describe("middleware.http.wasm", () => {
  test("changes the request, and sees the answer go by", async () => {
    const { mecha, seen } = await start();
    const headers = { "x-caller": "me", "x-drop": "1" };
    const answer = await call(mecha, "POST /change", { body: "some text", headers });
    expect(answer.text).toBe("PUT /changed?by=guest SOME TEXT PUT");
    expect(seen[0]?.header("x-guest")).toMatch(/^me(127\.0\.0\.1|::1):0HTTP\/1\.1$/);
    expect(seen[0]?.header("x-drop")).toBeUndefined();
    expect([answer.header("x-app"), answer.header("x-context"), answer.header("x-status")]).toEqual([
      "yes",
      "true",
      "200",
    ]);
    expect(answer.header("x-added")).toBe("one, two");
  });

  test("answers itself, and reads its configuration", async () => {
    const { mecha, seen } = await start({ guestConfig: "you are nobody" });
    const answer = await call(mecha, "GET /refuse");
    expect([answer.status, answer.text, answer.header("x-why")]).toEqual([
      403,
      "not you you are nobody",
      "because",
    ]);
    expect(seen).toEqual([]);
    expect((await call(mecha, "GET /names", { headers: { "x-caller": "a" } })).text).toMatch(/^\d+ true$/);
  });

  test("changes answers when it has asked for them", async () => {
    const { mecha } = await start({ guestConfig: "answers" });
    const answer = await call(mecha, "POST /x", { body: "y" });
    expect([answer.status, answer.text]).toEqual([201, "<POST /x y>"]);
  });

  test("has an instance for each request at once", async () => {
    const { mecha } = await start({ timeout: "50s" });
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => call(mecha, "POST /change", { body: `number ${index}` })),
    );
    expect(answers.map(({ text }) => text)).toEqual(
      Array.from({ length: 100 }, (_, index) => `PUT /changed?by=guest NUMBER ${index} PUT`),
    );
  });

  test("writes to the log", async () => {
    const { mecha } = await start();
    expect((await call(mecha, "GET /log")).status).toBe(200);
    expect(mecha.log()).toContain("the guest says so");
  });

  test("a guest that breaks down, or hangs, is the end of its request only", async () => {
    const { mecha } = await start({ timeout: "1500ms" });
    expect((await call(mecha, "GET /panic")).status).toBe(500);
    expect((await call(mecha, "GET /fine")).status).toBe(200);
    const hanging = call(mecha, "GET /hang");
    expect((await mecha.http("orders", "GET /v1.0/healthz")).status).toBeLessThan(501);
    expect((await hanging).status).toBe(500);
    expect((await call(mecha, "GET /fine")).status).toBe(200);
    expect(mecha.log()).toContain("the guest has not answered within 1500 ms");
  }, 30_000);

  test("says what is wrong with a guest", async () => {
    const failing = (items: Record<string, string>) =>
      start(items).then(
        () => "started",
        (error: Error) => error.message,
      );
    expect(await failing({ url: "oci://ghcr.io/x" })).toContain(
      "oci://ghcr.io/x is neither file:// nor http(s)://",
    );
    expect(await failing({ url: "file:///nonexistent.wasm" })).toContain("ENOENT");
    writeFileSync(join(folder, "text.wasm"), "text");
    expect(await failing({ url: pathToFileURL(join(folder, "text.wasm")).href })).toContain(
      "is no WebAssembly",
    );
    writeFileSync(join(folder, "empty.wasm"), Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const empty = await failing({ url: pathToFileURL(join(folder, "empty.wasm")).href });
    expect(empty).toContain("it has to export memory and handle_request");
    expect(await failing({ guestConfig: "broken" })).toContain("can not be started");
    expect(await failing({ strictSandbox: "true" })).toContain("strictSandbox");
  });
});
