import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../edges/clock.ts";
import { realFiles } from "../edges/files.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { loadResources, type ResourceSet } from "./load.ts";
import { type ResourceWatch, watchResources } from "./watch.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;

let folder = "";
let watch: ResourceWatch | undefined;
let sets: string[][] = [];
let errors: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-watch-"));
  sets = [];
  errors = [];
});
afterEach(async () => {
  await watch?.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(path = folder, reconcileIntervalMs = 60_000, since?: string): Promise<ResourceWatch> {
  watch = await watchResources([path], {
    isStrict: false,
    env: {},
    log,
    files: realFiles,
    clock: realClock,
    settleMs: 10,
    reconcileIntervalMs,
    since,
    onChange: (set: ResourceSet) => void sets.push(set.components.map((one) => one.name)),
    onError: (error) => void errors.push(error.message),
  });
  return watch;
}

const component = (name: string) =>
  `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: { name: ${name} }\nspec: { type: state.redis }\n`;

async function until(check: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!check()) {
    if (performance.now() > endMs) throw new Error(`not in time: ${JSON.stringify({ sets, errors })}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("watchResources() reports files that are added, changed and removed", async () => {
  await start();
  await writeFile(join(folder, "a.yaml"), component("a"));
  await until(() => sets.at(-1)?.join() === "a");
  await writeFile(join(folder, "a.yaml"), component("b"));
  await until(() => sets.at(-1)?.join() === "b");
  await rm(join(folder, "a.yaml"));
  await until(() => sets.at(-1)?.length === 0);
});

test("watchResources() reports a bad edit once, and the repaired file", async () => {
  await start();
  await writeFile(join(folder, "a.yaml"), "kind: Component\napiVersion: dapr.io/v1alpha1\n");
  await until(() => errors.length === 1);
  expect(errors[0]).toContain("a.yaml:1:1: metadata.name is missing");
  await watch?.reconcile();
  expect(errors).toHaveLength(1);
  await writeFile(join(folder, "a.yaml"), component("a"));
  await until(() => sets.at(-1)?.join() === "a");
});

test("watchResources() does not report what it knows, nor a rewrite of the same bytes", async () => {
  await writeFile(join(folder, "a.yaml"), component("a"));
  await start();
  await writeFile(join(folder, "a.yaml"), component("a"));
  await watch?.reconcile();
  expect(sets).toEqual([]);
});

test("watchResources() reports at once what changed since the set that is in use", async () => {
  await writeFile(join(folder, "a.yaml"), component("a"));
  const { print } = await loadResources([folder], { isStrict: false, env: {}, log, files: realFiles });
  await writeFile(join(folder, "a.yaml"), component("b"));
  await start(folder, 60_000, print);
  await until(() => sets.at(-1)?.join() === "b");
});

test("watchResources() sees how Kubernetes swaps mounted files", async () => {
  for (const [version, name] of [
    ["..v1", "one"],
    ["..v2", "two"],
  ] as const) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, "a.yaml"), component(name));
  }
  await symlink("..v1", join(folder, "..data"));
  await symlink("..data/a.yaml", join(folder, "a.yaml"));
  await start();
  await symlink("..v2", join(folder, "..data_tmp"));
  await rename(join(folder, "..data_tmp"), join(folder, "..data"));
  await until(() => sets.at(-1)?.join() === "two");
});

test("watchResources() watches a single file that is replaced", async () => {
  const file = join(folder, "one.yaml");
  await writeFile(file, component("a"));
  await start(file);
  await writeFile(`${file}.tmp`, component("b"));
  await rename(`${file}.tmp`, file);
  await until(() => sets.at(-1)?.join() === "b");
});

test("watchResources() finds a folder again that was away", async () => {
  const inner = join(folder, "inner");
  await mkdir(inner);
  await start(inner, 20);
  await rm(inner, { recursive: true });
  await until(() => errors.some((error) => error.includes("ENOENT")));
  await mkdir(inner);
  await writeFile(join(inner, "a.yaml"), component("a"));
  await until(() => sets.at(-1)?.join() === "a");
});
