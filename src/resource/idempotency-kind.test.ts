import { expect, test } from "bun:test";
import type { Log } from "../telemetry/telemetry.ts";
import { checkResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";

const log: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  fatal: () => {},
  scope: () => log,
};

function load(spec: string) {
  const text = `apiVersion: mecha.run/v1alpha1\nkind: Idempotency\nmetadata: { name: once }\nspec:\n${spec}`;
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  return checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
}

async function errorsOf(spec: string): Promise<string[]> {
  const error = await load(spec).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message.split("\n");
}

test("an Idempotency has defaults for all but its targets", async () => {
  const { idempotencies } = await load("  targetRefs: [{ kind: App, name: orders }]\n");
  expect(idempotencies[0]?.spec).toEqual({
    targets: [{ kind: "App", name: "orders" }],
    key: undefined,
    scope: "target",
    windowMs: 86_400_000,
    mode: undefined,
    inFlight: "wait",
    waitTimeoutMs: 30_000,
    onFailure: "forget",
    failureStatus: [
      { from: 500, to: 599 },
      { from: 429, to: 429 },
    ],
    fingerprint: "body",
    atomicWith: "statestore",
    storedBodyBytesMax: 262_144,
  });
});

test("an Idempotency is read with everything in it", async () => {
  const { idempotencies } = await load(`  targetRefs:
    - { group: mecha.run, kind: Subscription, name: paid }
  key: [{ cel: event.data.order }, event.type, { constant: v1 }]
  scope: app
  window: 48h
  mode: skip
  inFlight: reject
  waitTimeout: 2s
  failureStatus: [5xx, 429, 400-404]
  fingerprint: none
  atomicWith: other
  maxStoredBody: 1MiB
`);
  expect(idempotencies[0]?.spec).toMatchObject({
    targets: [{ kind: "Subscription", name: "paid" }],
    key: ["event.data.order", "event.type", '"v1"'],
    scope: "app",
    windowMs: 172_800_000,
    mode: "skip",
    inFlight: "reject",
    waitTimeoutMs: 2000,
    failureStatus: [
      { from: 500, to: 599 },
      { from: 429, to: 429 },
      { from: 400, to: 404 },
    ],
    fingerprint: "none",
    atomicWith: "other",
    storedBodyBytesMax: 1_048_576,
  });
});

test("what is unknown or left to later is refused by its name and place", async () => {
  expect(
    await errorsOf(`  targetRefs:
    - { kind: Workflow, name: w }
    - { kind: Subscription, name: s, section: x }
  store: redis
  mode: replay
  onFailure: remember
  key: [{ jq: .id }]
  windw: 1h
`),
  ).toEqual([
    "a.yaml:6:15: a target of kind Workflow is not implemented",
    "a.yaml:9:9: mode replay needs a caller: a Subscription has none; use skip",
    "a.yaml:8:10: spec.store is not implemented; remove it: records live in mecha's own store",
    "a.yaml:11:9: a key in jq is not implemented; a key is a CEL text, {cel: text} or {constant: value}",
    "a.yaml:10:14: onFailure remember would lose the failed events of a Subscription; use forget",
    'a.yaml:12:10: unknown field spec.windw; did you mean "window"?',
    "a.yaml:7:47: unknown field spec.targetRefs.1.section",
  ]);
  expect(await errorsOf("  mode: skip\n")).toEqual(["a.yaml:4:1: spec.targetRefs is missing"]);
});
