import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkPaths } from "./check.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** `severity line:column message` of what is found in one file. */
async function check(yaml: string, apps?: string[], env: Record<string, string> = {}): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-check-"));
  folders.push(folder);
  writeFileSync(join(folder, "all.yaml"), yaml);
  const problems = await checkPaths({ paths: [folder], apps: apps && new Set(apps), env });
  return problems.map(
    ({ severity, message, source: { line, column } }) => `${severity} ${line}:${column} ${message}`,
  );
}

function resiliency(policies: string, targets: string): string {
  return `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: rules}
spec:
  policies: ${policies}
  targets: ${targets}
`;
}

const idempotency = `---
apiVersion: mecha.run/v1alpha1
kind: Idempotency
metadata: {name: once}
spec:
  targetRefs: [{kind: App, name: orders}]
`;

test("a type that may be a pluggable component is known where there is a folder of sockets", async () => {
  const yaml = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: mine}
spec: {type: state.mine-alone, version: v1, metadata: [{name: anything, value: x}]}
`;
  const sockets = mkdtempSync(join(tmpdir(), "mecha-check-"));
  folders.push(sockets);
  expect(await check(yaml, undefined, { DAPR_COMPONENTS_SOCKETS_FOLDER: sockets })).toEqual([]);
});

test("the name resolution of a Configuration is checked against its component", async () => {
  const configuration = (nameResolution: string) => `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec: {nameResolution: ${nameResolution}}
`;
  expect(await check(configuration("{component: sqlite, configuration: {connectionString: a.db}}"))).toEqual(
    [],
  );
  expect(await check(configuration("{component: sqlit, configuration: {x: 1}}"))).toEqual([
    "error 4:8 couldn't find name resolver nameresolution.sqlit/v1; did you mean nameresolution.sqlite?",
  ]);
  expect(await check(configuration("{component: sqlite, configuration: {tableNam: x}}"))).toEqual([
    "error 4:8 nameresolution.sqlite needs metadata field connectionString: a text",
  ]);
  expect(
    await check(configuration("{component: nameformat, configuration: {format: '{appid}', formt: x}}")),
  ).toEqual([
    expect.stringContaining("error 4:8 metadata field formt is not known to nameresolution.nameformat"),
  ]);
});

test("name resolution is no resource of kind Component", async () => {
  const yaml = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: names}
spec: {type: nameresolution.mdns, version: v1, metadata: []}
`;
  expect(await check(yaml)).toEqual([
    "error 4:14 name resolution is chosen in spec.nameResolution of a Configuration, not by a resource of kind Component",
  ]);
});

test("a folder in which nothing is wrong has no problems", async () => {
  const calm = resiliency(
    "{retries: {few: {maxRetries: 3}}, circuitBreakers: {cb: {trip: consecutiveFailures > 5}}}",
    "{apps: {orders: {retry: few, circuitBreaker: cb}}}",
  );
  expect(await check(calm + idempotency, ["orders", "shop"])).toEqual([]);
});

test("names of apps that there are not are reported with what was meant", async () => {
  const text = resiliency("{timeouts: {t: 1s}}", "{apps: {ordres: {timeout: t}}}");
  expect(await check(text, ["orders"])).toEqual([
    'warning 6:20 no app is called "ordres"; did you mean "orders"?',
  ]);
  expect(await check(text)).toEqual([]);
});

test("components that there are not, or are of another kind, are reported", async () => {
  const text = `apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: s}
spec:
  pubsubname: statestore
  topic: t
  routes: {default: /t}
`;
  expect(await check(text)).toEqual(["error 5:15 component statestore is of kind state, not pubsub"]);
  expect(await check(text.replace("statestore", "pubsbu"))).toEqual([
    'warning 5:15 no component is called "pubsbu"; did you mean "pubsub"?',
  ]);
});

test("metadata of components is checked without their secrets", async () => {
  const text = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cache}
spec:
  type: state.redis
  version: v1
  metadata:
    - {name: redisHost, secretKeyRef: {name: redis, key: host}}
    - {name: enableTLS, value: perhaps}
auth: {secretStore: secretstore}
`;
  const [problem = "", ...more] = await check(text);
  expect(problem).toStartWith("error 9:32 metadata field enableTLS of state.redis");
  expect(more).toEqual([]);
  const unknownType = text.replace("state.redis", "state.redsi");
  expect((await check(unknownType))[0]).toContain("did you mean state.redis?");
});

test("a secret that all apps see is reported, one with scopes is not", async () => {
  const text = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cache}
spec:
  type: state.redis
  version: v1
  metadata:
    - {name: redisHost, value: "127.0.0.1:6379"}
    - {name: redisPassword, secretKeyRef: {name: redis}}
`;
  const [found = ""] = await check(text, ["orders", "shop"]);
  expect(found).toContain("component cache holds a secret and is seen by all 2 apps");
  expect(await check(`${text}scopes: [orders]\n`, ["orders", "shop"])).toEqual([]);
});

test("retries without an end, and too many of them, are reported", async () => {
  const endless = resiliency("{retries: {r: {maxRetries: -1}}}", "{apps: {orders: {retry: r}}}");
  expect((await check(endless + idempotency))[0]).toContain("have no end");
  const many = resiliency("{retries: {r: {maxRetries: 40}}}", "{apps: {orders: {retry: r}}}");
  expect((await check(many + idempotency))[0]).toContain("one call of app orders can become 41");
});

const gatewayApi = "gateway.networking.k8s.io";

function traffic(name: string, target: string, retries: string): string {
  return `apiVersion: mecha.run/v1alpha1
kind: TrafficPolicy
metadata: {name: ${name}}
spec: {targetRefs: [${target}], retries: ${retries}}
`;
}

test("of the policies on the way of a call the nearest one's tries are multiplied, the worst way counts", async () => {
  const outer = resiliency(
    "{retries: {r: {maxRetries: 3}}, timeouts: {t: 1s}}",
    "{apps: {orders: {retry: r, timeout: t}}}",
  );
  const ofApp = traffic("of-app", "{kind: App, name: orders}", "{attempts: 3, perTryTimeout: 400ms}");
  const ofVersion = traffic(
    "of-v1",
    "{kind: AppVersion, name: orders-v1}",
    "{attempts: 4, perTryTimeout: 1ms}",
  );
  const ofRoute = traffic("of-route", `{group: ${gatewayApi}, kind: HTTPRoute, name: way}`, "{attempts: 0}");
  const version = (name: string): string => `{group: mecha.run, kind: AppVersion, name: orders-${name}}`;
  const route = (rule: string): string => `apiVersion: ${gatewayApi}/v1
kind: HTTPRoute
metadata: {name: way}
spec:
  parentRefs: [{group: mecha.run, kind: App, name: orders}]
  rules: [{${rule} backendRefs: [${version("v1")}, ${version("v2")}]}]
`;
  const found = async (...texts: string[]): Promise<string[]> => {
    const problems = await check([outer, idempotency, ...texts].join("---\n"));
    return problems.map((problem) => /can become.*|ends before.*/.exec(problem)?.[0] ?? problem);
  };
  const late = "ends before the tries of of-app do (4 x 400 ms)";
  expect(await found(ofApp)).toEqual(["can become 16 (4 tries of rules x 4 of of-app)", late]);
  // Calls of v2 have the app's.
  expect(await found(ofApp, ofVersion, route(""))).toEqual([
    "can become 20 (4 tries of rules x 5 of of-v1)",
    late,
  ]);
  expect(await found(ofApp, ofVersion, ofRoute, route(""))).toEqual([]);
  const retry = "retry: {attempts: 2}, timeouts: {request: 2s},";
  expect(await found(ofApp, ofVersion, ofRoute, route(retry))).toEqual([
    "can become 12 (4 tries of rules x 3 of route way)",
    "ends before the tries of route way do (2000 ms)",
  ]);
});

test("repeated writes need something that makes them count once", async () => {
  const text = resiliency("{retries: {r: {maxRetries: 3}}}", "{apps: {orders: {retry: r}}}");
  expect((await check(text))[0]).toContain("add an Idempotency");
  expect(await check(text + idempotency)).toEqual([]);
});

test("breakers that never open, or open for nothing, are reported", async () => {
  const withTrip = (trip: string): string =>
    resiliency(`{circuitBreakers: {cb: {trip: "${trip}"}}}`, "{apps: {orders: {circuitBreaker: cb}}}");
  expect(
    (await check(withTrip("consecutiveFailures > 5 && totalSuccesses > 0 && requests < 0")))[0],
  ).toContain("circuit breaker cb never opens");
  expect((await check(withTrip("requests > 10")))[0]).toContain("opens although nothing fails");
  expect(await check(withTrip("consecutiveFailures >= 3"))).toEqual([]);
});

test("dead letters that nobody reads, and those that go round, are reported", async () => {
  const subscription = (name: string, topic: string, dead: string): string => `apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: ${name}}
spec:
  pubsubname: pubsub
  topic: ${topic}
  routes: {default: /t}
  deadLetterTopic: ${dead}
`;
  expect((await check(subscription("a", "orders", "poison")))[0]).toContain(
    "reads the dead letter topic poison",
  );
  const round = `${subscription("a", "orders", "poison")}---\n${subscription("b", "poison", "orders")}`;
  expect((await check(round))[0]).toContain(
    "dead letters go round: pubsub/orders → pubsub/poison → pubsub/orders",
  );
});

test("a reference into another namespace needs a grant there", async () => {
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{kind: App, group: mecha.run, name: shop}]
  rules: [{backendRefs: [{name: web, namespace: web}]}]
`;
  const grant = `---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: web}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service, name: web}]
`;
  expect(await check(route)).toEqual([
    "warning 6:49 RefNotPermitted: no ReferenceGrant of web allows App web",
  ]);
  expect(await check(route + grant)).toEqual([]);
  expect(await check(route, undefined, { NAMESPACE: "web" })).toEqual([]);
});
