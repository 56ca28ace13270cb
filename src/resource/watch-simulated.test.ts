import { afterEach, beforeEach, expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import { SimulatedFiles } from "../edges/simulated-files.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type ResourceWatch, watchResources } from "./watch.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;
const settleMs = 200;
const reconcileIntervalMs = 60_000;

let clock: SimulatedClock;
let files: SimulatedFiles;
let watch: ResourceWatch;
let heard: string[];

beforeEach(async () => {
  clock = new SimulatedClock();
  files = new SimulatedFiles();
  heard = [];
  files.write("/resources/a.yaml", component("a"));
  watch = await watchResources(["/resources"], {
    isStrict: false,
    env: {},
    log,
    files,
    clock,
    onChange: (set) => void heard.push(set.components.map((one) => one.name).join()),
    onError: (error) => void heard.push(error.message),
  });
});
afterEach(() => watch.close());

const component = (name: string): string =>
  `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: { name: ${name} }\nspec: { type: state.redis }\n`;

/** A turn of the event loop: changes of simulated files are told within it, and no time passes. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Reading takes some turns, the first time more (the YAML package is loaded), but no time of the clock. */
async function heardOf(count: number): Promise<string[]> {
  const endMs = performance.now() + 5_000;
  while (heard.length < count && performance.now() < endMs) await settled();
  return heard;
}

test("watchResources() looks once when several changes have come to rest", async () => {
  files.write("/resources/b.yaml", component("b"));
  await settled();
  clock.advance(settleMs / 2);
  files.write("/resources/b.yaml", component("c"));
  await settled();
  clock.advance(settleMs / 2 - 1);
  await settled();
  expect(heard).toEqual([]);
  clock.advance(1);
  expect(await heardOf(1)).toEqual(["a,c"]);
});

test("watchResources() refuses a bad edit with its place and takes the repaired file", async () => {
  files.write("/resources/a.yaml", component("a").replace("state.redis", "7"));
  await settled();
  clock.advance(settleMs);
  expect(await heardOf(1)).toHaveLength(1);
  expect(heard[0]).toContain("/resources/a.yaml:4:");
  files.write("/resources/a.yaml", component("z"));
  await settled();
  clock.advance(settleMs);
  expect((await heardOf(2)).at(-1)).toBe("z");
});

test("watchResources() takes good edits while another file is bad, of which the last usable version stays", async () => {
  files.write("/resources/a.yaml", "kind: Component\napiVersion: dapr.io/v1alpha1\n");
  files.write("/resources/b.yaml", component("b"));
  await settled();
  clock.advance(settleMs);
  const [bad, good] = await heardOf(2);
  expect(bad).toContain("/resources/a.yaml:1:1: metadata.name is missing");
  expect(good).toBe("a,b");
  files.write("/resources/b.yaml", component("c"));
  files.write("/resources/d.yaml", component("d").replace("redis", ""));
  await settled();
  clock.advance(settleMs);
  expect((await heardOf(4)).at(-1)).toBe("a,c");
  files.write("/resources/a.yaml", component("z"));
  files.remove("/resources/d.yaml");
  await settled();
  clock.advance(settleMs);
  expect((await heardOf(5)).at(-1)).toBe("z,c");
});

test("watchResources() finds what its watch does not tell: a folder that was replaced", async () => {
  files.write("/next/a.yaml", component("n"));
  files.rename("/resources", "/old");
  files.rename("/next", "/resources");
  await settled();
  clock.advance(settleMs);
  expect(await heardOf(1)).toEqual(["n"]);
  // The watch is still that of the old folder.
  files.write("/resources/a.yaml", component("m"));
  await settled();
  clock.advance(settleMs);
  await settled();
  expect(heard).toEqual(["n"]);
  clock.advance(reconcileIntervalMs);
  expect(await heardOf(2)).toEqual(["n", "m"]);
});

test("watchResources() leaves no timer behind", async () => {
  files.write("/resources/b.yaml", component("b"));
  await settled();
  await watch.close();
  expect(clock.pendingTimers).toBe(0);
});
