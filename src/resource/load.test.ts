import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realFiles } from "../edges/files.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { mergeConfigurations } from "./configuration.ts";
import { type LoadOptions, loadResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";

let folder = "";
let lines: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-resources-"));
  lines = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const log: Log = {
  debug: (_, message) => void lines.push(`debug ${message}`),
  info: (_, message) => void lines.push(`info ${message}`),
  warn: (_, message) => void lines.push(`warn ${message}`),
  error: (_, message) => void lines.push(`error ${message}`),
  fatal: () => {},
  scope: () => log,
};

async function load(text: string, options: Partial<LoadOptions> = {}) {
  await writeFile(join(folder, "a.yaml"), text);
  return loadResources([folder], { isStrict: false, env: {}, log, files: realFiles, ...options });
}

/** The messages without the folder. */
async function errorsOf(text: string, options: Partial<LoadOptions> = {}): Promise<string[]> {
  const error = await load(text, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message.replaceAll(`${folder}/`, "").split("\n");
}

const store = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: store
spec:
  type: state.redis
  version: v1
`;

test("loadResources() reads all documents of all files in order", async () => {
  await writeFile(join(folder, "b.yml"), store.replace("name: store", "name: other"));
  await writeFile(join(folder, "notes.txt"), "not: yaml: at all");
  await mkdir(join(folder, "sub"));
  const set = await load(`${store}---\n# only a comment\n---\n${store.replace("store", "second")}`);
  expect(set.components.map((one) => one.name)).toEqual(["store", "second", "other"]);
  expect(set.components[1]?.source).toEqual({ file: join(folder, "a.yaml"), line: 11, column: 1 });
});

test("loadResources() refuses a value that is a part of itself", async () => {
  expect(await errorsOf("&a\nkind: *a\n")).toEqual([
    "a.yaml:2:7: *a stands for a value that it is a part of",
  ]);
  const twice = `${store}  metadata: &fields\n    - name: a\n      value: [*fields]\n`;
  expect(await errorsOf(twice)).toEqual(["a.yaml:10:15: *fields stands for a value that it is a part of"]);
});

test("loadResources() reads a component with every kind of value", async () => {
  const set = await load(`${store}  ignoreErrors: true
  initTimeout: 10s
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: db
    value: 3
  - name: list
    value: [a, b]
  - name: password
    secretKeyRef: { name: redis, key: pw }
  - name: region
    envRef: REGION
auth:
  secretStore: vault
scopes: [orders, billing]
`);
  const [component] = set.components;
  expect(component?.spec).toEqual({
    type: "state.redis",
    version: "v1",
    ignoreErrors: true,
    initTimeoutMs: 10_000,
    metadata: [
      { name: "redisHost", value: "localhost:6379" },
      { name: "db", value: 3 },
      { name: "list", value: ["a", "b"] },
      { name: "password", secretKeyRef: { name: "redis", key: "pw" } },
      { name: "region", envRef: "REGION" },
    ],
  });
  expect(component?.scopes).toEqual(["orders", "billing"]);
  expect(component?.secretStore).toBe("vault");
  expect(component?.at("spec", "metadata", 1, "value")).toMatchObject({ line: 14, column: 12 });
});

test("loadResources() names file, line, column, value and what would be right", async () => {
  const errors = await errorsOf(`${store}  ignoreErorrs: true
  initTimeout: fast
---
apiVersion: dapr.io/v1alpha1
kind: Componnent
metadata: { name: x }
---
apiVersion: dapr.io/v3
kind: Subscription
---
apiVersion: mecha.run/v1alpha1
kind: Pipe
`);
  expect(errors).toEqual([
    'a.yaml:9:16: spec.initTimeout: invalid duration "fast": expected one like 500ms, 1h30m or PT5M',
    'a.yaml:8:17: unknown field spec.ignoreErorrs; did you mean "ignoreErrors"?',
    'a.yaml:12:7: kind "Componnent" of dapr.io/v1alpha1 is not known; did you mean Component?',
    "a.yaml:15:13: apiVersion of Subscription must be dapr.io/v1alpha1 or dapr.io/v2alpha1, got dapr.io/v3",
    'a.yaml:19:7: kind "Pipe" of mecha.run/v1alpha1 is not known',
  ]);
});

test("loadResources() points at broken YAML", async () => {
  const [error] = await errorsOf("kind: Component\nspec: {type: [}\n");
  expect(error).toStartWith("a.yaml:2:");
});

test("loadResources() says all that is missing", async () => {
  const errors = await errorsOf("apiVersion: dapr.io/v1alpha1\nkind: Component\nspec: {}\n");
  expect(errors).toEqual(["a.yaml:1:1: metadata.name is missing", "a.yaml:3:1: spec.type is missing"]);
});

test("loadResources() passes over unknown fields in strict mode, with a warning", async () => {
  const set = await load(`${store}  ignoreErorrs: true\n`, { isStrict: true });
  expect(set.components).toHaveLength(1);
  expect(lines.join()).toContain("unknown field spec.ignoreErorrs");
});

test("loadResources() takes field names without case, as Dapr does", async () => {
  const set = await load(`apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: { name: s }
spec: { pubsubName: pubsub, topic: orders, route: /orders }
`);
  expect(set.subscriptions[0]?.spec.pubsubname).toBe("pubsub");
});

test("loadResources() leaves foreign kinds alone and warns of kinds without effect", async () => {
  const set = await load(`apiVersion: apps/v1
kind: Deployment
---
apiVersion: dapr.io/v1alpha1
kind: MCPServer
metadata: { name: tools }
spec: { endpoint: {} }
`);
  expect(set.others.map((one) => one.kind)).toEqual(["MCPServer"]);
  expect(lines).toContain("debug resource of kind Deployment is not for mecha");
  expect(lines.join()).toContain("MCPServer is not implemented yet and has no effect");
});

test("loadResources() reads subscriptions of both versions", async () => {
  const set = await load(`apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: { name: one }
spec: { pubsubname: pubsub, topic: a, route: /a, deadLetterTopic: dead }
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: two }
spec:
  pubsubname: pubsub
  topic: b
  routes:
    rules:
    - { match: event.type == "x", path: /x }
    default: /b
  metadata: { rawPayload: "true" }
  bulkSubscribe: { enabled: true, maxMessagesCount: 10 }
`);
  expect(set.subscriptions.map((one) => one.spec)).toEqual([
    {
      pubsubname: "pubsub",
      topic: "a",
      rules: [],
      defaultPath: "/a",
      metadata: {},
      deadLetterTopic: "dead",
      bulkSubscribe: undefined,
    },
    {
      pubsubname: "pubsub",
      topic: "b",
      rules: [{ match: 'event.type == "x"', path: "/x" }],
      defaultPath: "/b",
      metadata: { rawPayload: "true" },
      deadLetterTopic: "",
      bulkSubscribe: { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 0 },
    },
  ]);
});

test("loadResources() checks a Resiliency and its references", async () => {
  const errors = await errorsOf(`apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: r }
spec:
  policies:
    retries:
      often: { policy: constnat, duration: 1s, maxRetries: 3, matching: { httpStatusCodes: "5xx" } }
    circuitBreakers:
      breaker: { maxRequests: 1, timeout: 30s, trip: consecutiveFailures > 3 }
  targets:
    actors:
      counter: { circuitBreaker: breaker }
    components:
      statestore: { outbound: { retry: oftn } }
`);
  expect(errors).toEqual([
    'a.yaml:7:24: spec.policies.retries.often.policy must be one of constant, exponential, got "constnat"; did you mean "constant"?',
    'a.yaml:7:92: httpStatusCodes must be codes and ranges like 429,500-599, from 100 to 599, got "5xx"',
    "a.yaml:12:7: circuitBreakerScope is missing: it must be type, id or both where there is a circuitBreaker",
  ]);
  expect(lines.join()).toContain(
    'retry policy "oftn" is not defined in this resource; did you mean "often"?',
  );
});

test("loadResources() checks the values of a Resiliency", async () => {
  const errors = await errorsOf(`apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: r }
spec:
  policies:
    timeouts: { fine: 250, soon: quick }
    retries:
      DaprBuiltInServiceRetries: { maxRetries: 1 }
      DaprBuiltInActorNotFoundRetries: { maxRetries: 9 }
      DaprBuiltInServiceRetry: { maxRetries: 9 }
      DaprBuiltInActorReminderRetries: { maxRetries: 9 }
      odd: { maxRetries: 1.5, maxRetry: 2, matching: { httpStatusCodes: "599-500", gRPCStatusCodes: "17" } }
  targets:
    apps: { cart: { circuitBreakerCacheSize: -1 } }
`);
  expect(errors.slice(0, 5)).toEqual([
    'a.yaml:6:34: spec.policies.timeouts.soon: invalid duration "quick": expected one like 500ms, 1h30m or PT5M',
    "a.yaml:12:26: maxRetries must be a whole number, got 1.5",
    'a.yaml:12:73: httpStatusCodes must be codes and ranges like 429,500-599, from 100 to 599, got "599-500"',
    'a.yaml:12:101: gRPCStatusCodes must be codes and ranges like 1,2,13-14, from 0 to 16, got "17"',
    "a.yaml:14:46: spec.targets.apps.cart.circuitBreakerCacheSize must be a number from 0 to 2147483647, got -1",
  ]);
  expect(errors[5]).toBe("a.yaml:12:41: unknown field spec.policies.retries.odd.maxRetry");
  const warned = lines.join();
  expect(warned).toContain("DaprBuiltInServiceRetries makes at least 3 retries");
  expect(warned).toContain("DaprBuiltInActorNotFoundRetries can not be overridden");
  expect(warned).toContain('did you mean "DaprBuiltInServiceRetries"?');
  expect(warned).toContain("DaprBuiltInActorReminderRetries has no effect");
});

test("loadResources() compiles the trips of circuit breakers", async () => {
  const errors = await errorsOf(`apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: r }
spec:
  policies:
    circuitBreakers:
      syntax: { trip: "requests >=" }
      typo: { trip: "consecutiveFailure > 3" }
      number: { trip: "requests + 1" }
      fine: { trip: "requests > 3 && totalFailures * 100 / requests >= 60" }
      rate: { trip: "totalFailures / requests > 1" }
`);
  expect(errors.map((error) => /^a.yaml:(\d+:\d+): trip must be a CEL condition/.exec(error)?.[1])).toEqual([
    "7:23",
    "8:21",
    "9:23",
  ]);
});

test("loadResources() refuses two of a kind and name", async () => {
  const endpoint =
    "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: { name: e }\nspec: { baseUrl: http://e }\n";
  const errors = await errorsOf(`${endpoint}---\n${endpoint}`);
  expect(errors[0]).toContain("duplicate definition of HTTPEndpoint name e with existing");
});

test("loadResources() rejects for a folder that is not there", async () => {
  await expect(
    loadResources([join(folder, "none")], { isStrict: false, env: {}, log, files: realFiles }),
  ).rejects.toThrow("ENOENT");
});

const configuration = (spec: string, name = "config") =>
  `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: { name: ${name} }\nspec:\n${spec}`;

test("mergeConfigurations() gives Dapr's defaults", () => {
  const merged = mergeConfigurations([]);
  expect(merged.tracing).toEqual({ samplingRate: 0.0001, stdout: false });
  expect(merged.metrics.enabled).toBe(true);
  expect(merged.metrics.http.increasedCardinality).toBe(true);
  expect(merged.features.HotReload).toBe(true);
  expect(merged.names).toEqual([]);
});

test("mergeConfigurations() lets later ones win, field by field", async () => {
  const set = await load(
    [
      configuration(`  tracing: { samplingRate: "1", zipkin: { endpointAddress: "http://z" } }
  metric: { enabled: false }
  components: { deny: [state.redis] }
`),
      configuration(
        `  tracing: { samplingRate: "0.5" }
  api: { allowed: [{ name: state, version: v1, protocol: http }] }
  secrets: { scopes: [{ storeName: vault, defaultAccess: deny, allowedSecrets: [a] }] }
  features: [{ name: HotReload, enabled: false }]
  logging: { apiLogging: { enabled: true } }
`,
        "second",
      ),
    ].join("---\n"),
  );
  const merged = mergeConfigurations(set.configurations);
  expect(merged.tracing).toEqual({
    samplingRate: 0.5,
    isRateGiven: true,
    stdout: false,
    zipkin: { endpointAddress: "http://z" },
  });
  expect(merged.metrics.enabled).toBe(false);
  expect(merged.componentsDeny).toEqual(["state.redis"]);
  expect(merged.api.allowed).toEqual([{ name: "state", version: "v1.0", protocol: "http" }]);
  expect(merged.secrets.scopes).toEqual([
    { storeName: "vault", defaultAccess: "deny", allowedSecrets: ["a"], deniedSecrets: [] },
  ]);
  expect(merged.features.HotReload).toBe(false);
  expect(merged.apiLogging.enabled).toBe(true);
  expect(merged.names).toEqual(["config", "second"]);
});

test("loadResources() fills environment variables into a Configuration", async () => {
  const text = configuration(`  tracing:
    samplingRate: \${RATE}
    stdout: $STDOUT
    otel: { endpointAddress: "$HOST:4318", protocol: http, isSecure: false }
  metrics: { rules: [{ name: m, labels: [{ name: method, regex: { orders: "orders/.+$" } }] }] }
`);
  const set = await load(text, { env: { RATE: "0.25", STDOUT: "true", HOST: "collector" } });
  const { tracing, metrics } = mergeConfigurations(set.configurations);
  expect(tracing.samplingRate).toBe(0.25);
  expect(tracing.stdout).toBe(true);
  expect(tracing.otel?.endpointAddress).toBe("collector:4318");
  expect(metrics.rules[0]?.labels[0]?.regex.orders).toBe("orders/.+$");
});

test("loadResources() refuses by name what is not implemented, in strict mode it warns", async () => {
  const text = configuration(`  mtls: { enabled: false }
  accessControl: { defaultAction: allow, trustDomain: public }
  httpPipeline: { handlers: [] }
  wasm: { strictSandbox: true }
`);
  const field = "spec.wasm";
  expect(await errorsOf(text)).toEqual([`a.yaml:8:3: ${field} is not implemented; remove it`]);
  lines = [];
  await load(text, { isStrict: true });
  expect(lines.join()).toContain(`${field} is not implemented and ignored`);
});

test("loadResources() reads the name resolution, what is nested as names with dots", async () => {
  const text = configuration(`  nameResolution:
    component: consul
    configuration: { client: { address: "x:1", httpAuth: { username: me } }, selfRegister: true, tags: [a] }
`);
  expect(mergeConfigurations((await load(text)).configurations).nameResolution).toEqual({
    component: "consul",
    version: "v1",
    items: [
      { name: "client.address", value: "x:1" },
      { name: "client.httpAuth.username", value: "me" },
      { name: "selfRegister", value: true },
      { name: "tags", value: ["a"] },
    ],
  });
  const bad = configuration("  nameResolution: { configuration: { a: 1 }, componet: x }\n");
  expect(await errorsOf(bad)).toEqual([
    "a.yaml:5:3: spec.nameResolution.component is missing",
    'a.yaml:5:56: unknown field spec.nameResolution.componet; did you mean "component"?',
  ]);
  const scalar = configuration("  nameResolution: { component: a/b, configuration: 5 }\n");
  expect((await errorsOf(scalar)).join()).toMatch(
    /configuration must be an object.*component "a\/b" is no name/,
  );
});

test("loadResources() reads the limits of workflows, for all and by name", async () => {
  const text = configuration(`  workflow:
    globalMaxConcurrentWorkflowInvocations: 5
    globalMaxConcurrentActivityInvocations: 0
    workflowConcurrencyLimits: [{ name: order, maxConcurrent: 2 }, { name: free, maxConcurrent: 0 }]
    activityConcurrencyLimits: [{ name: charge, maxConcurrent: 3 }]
`);
  const { workflow } = mergeConfigurations((await load(text)).configurations);
  expect([workflow.sharedWorkflowsMax, workflow.sharedActivitiesMax]).toEqual([5, undefined]);
  expect([...workflow.workflowMax, ...workflow.activityMax]).toEqual([
    ["order", 2],
    ["charge", 3],
  ]);
  const nameless = configuration("  workflow: { workflowConcurrencyLimits: [{ maxConcurrent: 2 }] }\n");
  expect((await errorsOf(nameless)).join()).toContain("workflowConcurrencyLimits.0.name is missing");
});

test("loadResources() reads who may use workflows, and refuses a policy that says it wrongly", async () => {
  const policy = (rules: string) =>
    `apiVersion: dapr.io/v1alpha1\nkind: WorkflowAccessPolicy\nmetadata: { name: p }\nspec:\n  rules: ${rules}\n`;
  const good = "[{ callers: [{ appID: a }], workflows: [{ name: 'w*', operations: [schedule, purge] }] }]";
  const { workflowAccessPolicies } = await load(policy(good));
  const [rule] = workflowAccessPolicies[0]?.spec.rules ?? [];
  expect([rule?.callers, rule?.workflows[0]?.operations]).toEqual([["a"], ["schedule", "purge"]]);
  expect(rule?.workflows[0]?.name.test("work")).toBe(true);
  const wrong = {
    "[{ activities: [{ name: a }] }]": "names at least one caller",
    "[{ callers: [{ appID: a }] }]": "names at least one workflow or activity",
    "[{ callers: [{ appID: a }], workflows: [{ name: w, operations: [start] }] }]":
      '"start" is none of schedule',
    "[{ callers: [{ appID: a }], workflows: [{ name: w }] }]": "at least one operation",
    "[{ callers: [{ appID: a }], activities: [{ name: '[' }] }]": '"[" is not a pattern',
    "[{ callers: [{ app: a }], activities: [{ name: a }] }]": "appID",
  };
  for (const [rules, why] of Object.entries(wrong))
    expect((await errorsOf(policy(rules))).join()).toContain(why);
});

test("loadResources() reads how runtimes know each other", async () => {
  const read = async (spec: string) =>
    mergeConfigurations((await load(configuration(`  mtls: ${spec}\n`))).configurations);
  const spec = "{ mode: permissive, workloadCertTTL: 1h, allowedClockSkew: 5m }";
  const mtls = { mode: "permissive", certificateLifeMs: 3_600_000, clockSkewMs: 300_000 };
  expect(await read(spec)).toMatchObject({ mtls });
  expect(await read("{ enabled: true }")).toMatchObject({ mtls: { mode: "strict" } });
  expect(await read("{ enabled: false }")).toMatchObject({ mtls: { mode: "off" } });
  const both = await errorsOf(configuration("  mtls: { enabled: false, mode: strict }\n"));
  expect(both.join()).toContain("enabled is false, and mode is strict: leave one of them out");
});

test("loadResources() reads who may call whom, and names what is wrong in it", async () => {
  const bad = configuration(`  accessControl:
    policies:
      - { appId: a, namespace: default, operations: [{ name: /x, action: perhaps }, { name: /y }] }
`);
  const place = "spec.accessControl.policies.0";
  expect(await errorsOf(bad)).toEqual([
    `a.yaml:7:9: ${place}.trustDomain is missing`,
    `a.yaml:7:74: ${place}.operations.0.action must be one of allow, deny, got "perhaps"`,
    `a.yaml:7:85: ${place}.operations.1.action is missing`,
  ]);
  const good = configuration("  accessControl: { policies: [{ appId: a, namespace: n, trustDomain: t }] }\n");
  const { accessControl } = mergeConfigurations((await load(good)).configurations);
  const policy = { appId: "a", namespace: "n", trustDomain: "t", defaultAction: undefined, operations: [] };
  expect(accessControl).toEqual({ trustDomain: "public", defaultAction: "deny", policies: [policy] });
});
