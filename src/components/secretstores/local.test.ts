import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComponentHost } from "../../component/component.ts";
import { realEdges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import localEnv from "./local.env.ts";
import localFile from "./local.file.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;
const host = (env: ComponentHost["env"] = {}): ComponentHost => ({
  name: "s",
  appId: "a",
  namespace: "",
  log,
  edges: realEdges(),
  env,
});

let folder = "";
let file = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-secrets-"));
  file = join(folder, "secrets.json");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const nested = { plain: "x", count: 3, db: { user: "u", keys: ["k0", { deep: "k1" }] } };

test("secretstores.local.file flattens nested names", async () => {
  await writeFile(file, JSON.stringify(nested));
  const options = { secretsFile: file, nestedSeparator: ":", multiValued: false };
  const store = await localFile.open(options, host());
  expect(await store.bulkGet({})).toEqual({
    plain: { plain: "x" },
    count: { count: "3" },
    "db:user": { "db:user": "u" },
    "db:keys:0": { "db:keys:0": "k0" },
    "db:keys:1:deep": { "db:keys:1:deep": "k1" },
  });
  const dotted = await localFile.open({ ...options, nestedSeparator: "." }, host());
  expect(await dotted.get("db.user", {})).toEqual({ "db.user": "u" });
  expect(store.features.size).toBe(0);
});

test("secretstores.local.file keeps several values of a secret together when asked to", async () => {
  await writeFile(file, JSON.stringify(nested));
  const store = await localFile.open({ secretsFile: file, nestedSeparator: ":", multiValued: true }, host());
  expect(await store.get("db", {})).toEqual({ user: "u", "keys:0": "k0", "keys:1:deep": "k1" });
  expect(await store.get("plain", {})).toEqual({ plain: "x" });
  expect([...store.features]).toEqual(["MULTIPLE_KEY_VALUES_PER_SECRET"]);
});

test("secretstores.local.file says what is wrong with its file, and nothing of what is in it", async () => {
  const open = () => localFile.open({ secretsFile: file, nestedSeparator: ":", multiValued: false }, host());
  await expect(open()).rejects.toThrow("ENOENT");
  await writeFile(file, '{"password": hunter2}');
  const error = await open().then(
    () => expect.unreachable(),
    (thrown: Error) => thrown,
  );
  expect(error.message).toEndWith("it is not JSON");
  await writeFile(file, '["hunter2"]');
  await expect(open()).rejects.toThrow("must hold an object");
});

test("secretstores.local.env hides the runtime's tokens and heeds its prefix", async () => {
  const env = { DAPR_API_TOKEN: "in", app_api_token: "out", PRE_a: "1", b: "2" };
  const all = await localEnv.open({ prefix: "" }, host(env));
  expect(await all.bulkGet({})).toEqual({ PRE_a: { PRE_a: "1" }, b: { b: "2" } });
  expect(await all.get("DAPR_API_TOKEN", {})).toEqual({ DAPR_API_TOKEN: "" });
  const some = await localEnv.open({ prefix: "PRE_" }, host(env));
  expect(await some.bulkGet({})).toEqual({ a: { a: "1" } });
  expect(await some.get("a", {})).toEqual({ a: "1" });
  expect(await some.get("b", {})).toEqual({ b: "" });
});
