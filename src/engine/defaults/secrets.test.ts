import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComponentHost } from "../../component/component.ts";
import { realEdges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { secretsByDefault } from "./secrets.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;
const defaults = {
  secretsFile: undefined,
  nestedSeparator: ":",
  multiValued: false,
  envPrefix: "MECHA_SECRET_",
};

let working = "";
let data = "";
beforeEach(async () => {
  working = await mkdtemp(join(tmpdir(), "mecha-secrets-"));
  data = join(working, "data");
  await mkdir(data);
});
afterEach(() => rm(working, { recursive: true, force: true }));

function open(env: ComponentHost["env"], options: Partial<typeof defaults> = {}) {
  const host: ComponentHost = { name: "s", appId: "a", namespace: "", log, edges: realEdges(), env };
  return secretsByDefault({ secretFolders: [working, data] }).open({ ...defaults, ...options }, host);
}

test("secretstores.mecha shows marked variables and no others", async () => {
  const store = await open({
    MECHA_SECRET_key: "k",
    HOME: "/root",
    DATABASE_PASSWORD: "p",
    MECHA_SECRET_: "x",
  });
  expect(await store.bulkGet({})).toEqual({ key: { key: "k" } });
  await expect(store.get("DATABASE_PASSWORD", {})).rejects.toThrow("secret DATABASE_PASSWORD not found");
});

test("secretstores.mecha never shows the runtime's tokens", async () => {
  const env = { DAPR_API_TOKEN: "in", APP_API_TOKEN: "out", OTHER: "o" };
  expect(await (await open(env, { envPrefix: "" })).bulkGet({})).toEqual({ OTHER: { OTHER: "o" } });
  expect(await (await open(env, { envPrefix: "DAPR_" })).bulkGet({})).toEqual({});
});

test("secretstores.mecha takes the file first, and the working folder before the data folder", async () => {
  await writeFile(join(data, "secrets.json"), '{"key":"data","only":"data"}');
  const env = { MECHA_SECRET_key: "env", MECHA_SECRET_more: "env" };
  expect(await (await open(env)).bulkGet({})).toEqual({
    key: { key: "data" },
    only: { only: "data" },
    more: { more: "env" },
  });
  await writeFile(join(working, "secrets.yaml"), "key: working\nnested: { a: 1 }\n");
  const store = await open(env);
  expect(await store.get("key", {})).toEqual({ key: "working" });
  expect(await store.get("nested:a", {})).toEqual({ "nested:a": "1" });
  await expect(store.get("only", {})).rejects.toThrow("not found");
});

test.each(["secrets.json", "secrets.yaml"])(
  "secretstores.mecha shows nothing of a broken %s",
  async (name) => {
    await writeFile(join(working, name), "{ password: [hunter2");
    const error = await open({}).then(
      () => expect.unreachable(),
      (thrown: Error) => thrown,
    );
    expect(error.message).toContain(`${name}" is not`);
    expect(error.message).not.toContain("hunter2");
  },
);

test("secretstores.mecha fails when the file it was told of is not there", async () => {
  await expect(open({}, { secretsFile: join(working, "none.json") as never })).rejects.toThrow("ENOENT");
});
