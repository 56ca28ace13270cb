import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { sendRaw, statusOf } from "../security/wire.ts";

// AuthorizationPolicy on an app that is a server of the Model Context Protocol: which of its tools may be called.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server of tools, called by an app of its process and by one of another. */
async function start(action: string, rules: object[]) {
  const app = await fakeApp({ otherwise: ({ text }) => ({ body: `got ${text}` }) });
  closers.push(() => app.close());
  const dataFolder = mkdtempSync(join(tmpdir(), "mecha-mcp-"));
  closers.push(() => rmSync(dataFolder, { recursive: true, force: true }));
  const resources = JSON.stringify({
    apiVersion: "mecha.run/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { name: "tools" },
    spec: { targetRefs: [{ kind: "App", name: "tools" }], action, rules },
  });
  const here = await startMecha({
    resources,
    dataFolder,
    apps: [{ appId: "near" }, { appId: "tools", app }],
  });
  closers.push(() => here.stop());
  const there = await startMecha({ dataFolder, apps: [{ appId: "far" }] });
  closers.push(() => there.stop());
  const upgrades = [here.ports("near").http, there.ports("far").http].map((port) => async () => {
    const head = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    return statusOf(await sendRaw(port, `GET /v1.0/invoke/tools/method/mcp HTTP/1.1\r\n${head}`));
  });
  /** A call of a gRPC service, whatever it holds. */
  const proxied = [here.ports("near").grpc, there.ports("far").grpc].map((port) => async () => {
    const client = createGrpcClient({ host: "127.0.0.1", port });
    const metadata: [string, string][] = [["dapr-app-id", "tools"]];
    const called = client.unary("/mcp.Server/Call", Buffer.from(tool("search")), { metadata });
    const error = await called.catch((failure) => failure);
    client.close();
    return error.message;
  });
  /** Whether both got through, or neither; the app has to get the body as it was. */
  const may = async (body: string | undefined, method = "POST"): Promise<boolean> => {
    const answers = [];
    for (const [mecha, appId] of [
      [here, "near"],
      [there, "far"],
    ] as const) {
      const request = body === undefined ? {} : { body };
      const { status, text } = await mecha.http(appId, `${method} /v1.0/invoke/tools/method/mcp`, request);
      if (status === 200) expect(text).toBe(`got ${body ?? ""}`);
      else expect([status, text]).toEqual([403, "RBAC: access denied"]);
      answers.push(status === 200);
    }
    expect(answers[0]).toBe(answers[1] as boolean);
    return answers[0] as boolean;
  };
  return Object.assign(may, { upgrades, proxied });
}

const message = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
const tool = (name: string, more: object = {}) => message("tools/call", { name, arguments: more });

test("a DENY policy keeps out all tools but some, and leaves the protocol alone", async () => {
  const may = await start("DENY", [
    { to: [{ operation: { mcpTools: ["*"], notMcpTools: ["search", "read_*"] } }] },
  ]);
  expect(await may(tool("search"))).toBe(true);
  expect(await may(tool("read_file", { text: "x".repeat(200_000) }))).toBe(true);
  expect(await may(tool("delete"))).toBe(false);
  expect(await may(`[${tool("search")},${tool("delete")}]`)).toBe(false);
  expect(await may(message("initialize"))).toBe(true);
  expect(await may(undefined, "GET")).toBe(true);
  expect(await may("no JSON")).toBe(false);
  for (const upgrade of may.upgrades) expect(await upgrade()).toBe(403);
  for (const call of may.proxied) expect(await call()).toBe("RBAC: access denied");
  expect(await may(tool("search", { text: "x".repeat(1 << 20) }))).toBe(false);
  expect(await may('{"method":"ping","method":"tools/call","params":{"name":"delete"}}')).toBe(false);
});

test("an ALLOW policy lets in the tools it names, and what else it says", async () => {
  const to = (operation: object) => ({ to: [{ operation }] });
  const may = await start("ALLOW", [
    to({ paths: ["/mcp"], mcpTools: ["search"] }),
    to({ notMcpTools: ["*"] }),
  ]);
  expect(await may(tool("search"))).toBe(true);
  expect(await may(`[${tool("search")},${tool("delete")}]`)).toBe(false);
  expect(await may(message("tools/list"))).toBe(true);
  expect(await may("no JSON")).toBe(false);
});

test("a condition in CEL may ask for the tool", async () => {
  const may = await start("DENY", [{ when: [{ cel: 'request.mcpTool.startsWith("drop")' }] }]);
  expect(await may(tool("drop_table"))).toBe(false);
  expect(await may(tool("search"))).toBe(true);
  expect(await may(undefined, "GET")).toBe(true);
});
