import { expect, test } from "bun:test";
import type { Log } from "../telemetry/telemetry.ts";
import { checkResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";
import type { RateLimitSpec } from "./rate-limit.ts";

const quiet = (): void => {};
const log: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet, fatal: quiet, scope: () => log };

function load(spec: string) {
  const text = `apiVersion: mecha.run/v1alpha1\nkind: RateLimit\nmetadata: { name: few }\nspec:\n${spec}`;
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  return checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
}

async function errorsOf(spec: string): Promise<string[]> {
  const error = await load(spec).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message.split("\n");
}

const app = "  targetRefs: [{ kind: App, name: orders }]\n";
const few = "  limits: [{ requests: 5, per: 1s }]\n";

test("a RateLimit has defaults for all but its targets and what it lets through", async () => {
  const { others } = await load(`${app}${few}`);
  expect(others[0]?.spec).toEqual({
    targets: [{ kind: "App", name: "orders", direction: "inbound" }],
    scope: "instance",
    limits: [{ match: "", keys: [], requests: 5, perMs: 1000, burst: 5, algorithm: "tokenBucket" }],
    onLimit: { action: "reject", maxWaitMs: 5000, status: 429, hasHeaders: true },
    isShadow: false,
    failurePolicy: "open",
  });
});

test("a RateLimit reads topics, keys and periods in all their spellings", async () => {
  const { others } = await load(`  targetRefs:
    - { kind: Topic, name: pubsub/orders/new }
    - { kind: Topic, pubsub: pubsub, topic: paid }
    - { kind: Component, name: stripe }
    - { kind: Service, name: orders }
  limits:
    - key: ["request.headers[X-User]", source.app, { cel: 'request.headers["x-plan"] + source.app' }]
      match: request.method == "POST"
      requests: 10
      per: 2h30m
      burst: 20
    - { requests: 3, per: 1d, algorithm: slidingWindow, key: request.path }
`);
  const [{ targets, limits }] = others.map(({ spec }) => spec) as [RateLimitSpec];
  expect(targets).toEqual([
    { kind: "Topic", name: "pubsub", topic: "orders/new", direction: "inbound" },
    { kind: "Topic", name: "pubsub", topic: "paid", direction: "inbound" },
    { kind: "Component", name: "stripe", direction: "outbound" },
    { kind: "App", name: "orders", direction: "inbound" },
  ]);
  expect(limits[0]).toMatchObject({
    match: 'request.method == "POST"',
    keys: [
      { kind: "header", lowerName: "x-user" },
      { kind: "field", name: "source.app" },
      { kind: "cel", expression: 'request.headers["x-plan"] + source.app' },
    ],
    perMs: 9_000_000,
    burst: 20,
  });
  expect(limits[1]).toMatchObject({ perMs: 86_400_000, keys: [{ kind: "field", name: "request.path" }] });
});

for (const [what, spec, message] of [
  [
    "unknown kinds",
    `  targetRefs: [{ kind: Pod, name: x }]\n${few}`,
    "kind must be App, AppVersion, Component",
  ],
  ["a topic without its component", `  targetRefs: [{ kind: Topic, name: paid }]\n${few}`, "pubsub/topic"],
  ["no targets", few, "spec.targetRefs is missing"],
  ["no limits", app, "spec.limits is missing"],
  [
    "a direction that a kind lacks",
    `  targetRefs: [{ kind: ActorType, name: Cat }]\n  direction: inbound\n${few}`,
    "has no inbound direction",
  ],
  ["parts of a request", `${app}  limits: [{ requests: 0.5, per: 1s }]\n`, "requests must be a whole number"],
  ["a limit without a time", `${app}  limits: [{ requests: 5 }]\n`, "per must be 1s, 1m, 1h, 1d"],
  [
    "a burst of a window",
    `${app}  limits: [{ requests: 5, per: 1s, burst: 9, algorithm: slidingWindow }]\n`,
    "has no burst",
  ],
  [
    "a key that callers forge",
    `${app}  limits: [{ requests: 5, per: 1s, key: "request.headers[X-Forwarded-For]" }]\n`,
    "x-forwarded-for is written by the caller",
  ],
  [
    "a forged header in CEL",
    `${app}  limits: [{ requests: 5, per: 1s, match: 'request.headers["X-Real-IP"] == "1"' }]\n`,
    "x-real-ip is written by the caller",
  ],
  [
    "headers without a name",
    `${app}  limits: [{ requests: 5, per: 1s, match: size(request.headers) > 1 }]\n`,
    "by their names",
  ],
  [
    "what is no CEL",
    `${app}  limits: [{ requests: 5, per: 1s, match: "request.method ==" }]\n`,
    "match must be CEL",
  ],
  ["a wait of a refusal", `${app}${few}  onLimit: { maxWait: 3s }\n`, "maxWait is for the actions"],
  ["a status that is no failure", `${app}${few}  onLimit: { status: 200 }\n`, "status must be from 400"],
  ["unknown fields", `${app}${few}  store: redis\n`, "unknown field spec.store"],
] as const) {
  test(`a RateLimit refuses ${what}`, async () => {
    expect((await errorsOf(spec)).join("\n")).toContain(message);
  });
}
