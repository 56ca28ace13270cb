import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { goBuild } from "../sdk/toolchain.ts";

let mecha: TestMecha;
let program: string;
beforeAll(async () => {
  program = await goBuild(join(import.meta.dirname, "h2spec"));
  mecha = await startMecha({ apps: [{ appId: "orders" }] });
}, 300_000);
afterAll(() => mecha?.stop());

function run(port: number): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, [String(port)], { env: {} });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("close", (code) => resolve({ code, output }));
  });
}

/** What failed, by name. */
function failures(output: string): string[] {
  const list = output.slice(output.indexOf("\nFailures:"));
  return output.includes("\nFailures:") ? [...list.matchAll(/× (.*)/g)].map(([, name = ""]) => name) : [];
}

test("the gRPC port passes all of h2spec, strictly", async () => {
  const { code, output } = await run(mecha.ports("orders").grpc);
  expect(failures(output)).toEqual([]);
  expect(output).toContain("146 tests, 146 passed, 0 skipped, 0 failed");
  expect(code).toBe(0);
}, 120_000);

test("the HTTP port does so too, but for what it says to somebody who speaks no HTTP/2", async () => {
  const { output } = await run(mecha.ports("orders").http);
  // The port speaks HTTP/1.1 as well, and refuses a broken preface in it.
  expect(failures(output)).toEqual(["2: Sends invalid connection preface"]);
  expect(output).toContain("146 tests, 145 passed, 0 skipped, 1 failed");
}, 120_000);
