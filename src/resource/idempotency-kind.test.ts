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
    - { kind: App, name: orders }
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
    targets: [
      { kind: "Subscription", name: "paid" },
      { kind: "App", name: "orders" },
    ],
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
    - { kind: Pipe, name: w }
    - { kind: Subscription, name: s, section: x }
  store: redis
  mode: replay
  onFailure: remember
  key: [{ jq: .id }]
  windw: 1h
`),
  ).toEqual([
    "a.yaml:6:15: a target of kind Pipe is not implemented",
    "a.yaml:9:9: mode replay needs a caller: a Subscription has none; use skip",
    "a.yaml:8:10: spec.store is not implemented; remove it: records live in mecha's own store",
    "a.yaml:11:9: a key in jq is not implemented; a key is a CEL text, {cel: text} or {constant: value}",
    "a.yaml:10:14: onFailure remember would lose the failed events of a Subscription; use forget",
    'a.yaml:12:10: unknown field spec.windw; did you mean "window"?',
    "a.yaml:7:47: unknown field spec.targetRefs.1.section",
  ]);
  expect(await errorsOf("  mode: skip\n")).toEqual(["a.yaml:4:1: spec.targetRefs is missing"]);
});

test("workflows and input bindings need a key, and refuse what says nothing about them", async () => {
  const { idempotencies } = await load(`  targetRefs:
    - { kind: Workflow, name: checkout }
  key: [workflow.input.order]
  mode: replay
  fingerprint: none
`);
  expect(idempotencies[0]?.spec.targets).toEqual([{ kind: "Workflow", name: "checkout" }]);
  expect(
    await errorsOf(`  targetRefs: [{ kind: Workflow, name: checkout }]
  mode: skip
  onFailure: remember
  failureStatus: [5xx]
  maxStoredBody: 1KiB
  atomicWith: other
`),
  ).toEqual([
    "a.yaml:6:9: mode skip has no id to answer the start of a Workflow with; use replay",
    "a.yaml:5:3: spec.key is missing: a Workflow has no key of its own",
    "a.yaml:8:3: spec.failureStatus is for targets of kind App; remove it",
    "a.yaml:9:18: spec.maxStoredBody is for targets of kind App; remove it",
    "a.yaml:10:15: spec.atomicWith is for targets of kind App or Subscription; remove it",
    "a.yaml:7:14: onFailure remember would lose the failed starts of a Workflow; use forget",
  ]);
  expect(
    await errorsOf(`  targetRefs: [{ kind: Component, name: ticks }]
  mode: replay
  fingerprint: body
`),
  ).toEqual([
    "a.yaml:6:9: mode replay needs a caller: a Component has none; use skip",
    "a.yaml:5:3: spec.key is missing: a Component has no key of its own",
    "a.yaml:7:16: spec.fingerprint is for targets of kind App or Workflow; remove it",
  ]);
});
