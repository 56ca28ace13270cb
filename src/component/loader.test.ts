import { afterEach, beforeEach, expect, test } from "bun:test";
import { realEdges } from "../edges/edges.ts";
import { SimulatedClock } from "../edges/simulated.ts";
import type { ComponentResource, ComponentSpec, MetadataItem } from "../resource/resource.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { until } from "../testing/index.ts";
import { type ComponentDefinition, component } from "./component.ts";
import { definitionsOf } from "./definitions.ts";
import { flag, text } from "./fields.ts";
import { type ComponentsOptions, createComponents, type ReloadableComponents } from "./loader.ts";
import type { SecretStore } from "./secret-store.ts";

let lines: string[] = [];
let closed: string[] = [];
let components: ReloadableComponents | undefined;

beforeEach(() => {
  lines = [];
  closed = [];
});
afterEach(async () => {
  await components?.close();
  components = undefined;
});

const log: Log = {
  debug: () => {},
  info: (_, message) => void lines.push(message),
  warn: (_, message) => void lines.push(`warn ${message}`),
  error: (_, message) => void lines.push(`error ${message}`),
  fatal: () => {},
  scope: () => log,
};

/** A secret store that holds `name-of-it/<key>` for each key, and opens when its own password is right. */
const vault = component({
  type: "secretstores.vault",
  version: "v1",
  status: "stable",
  summary: "",
  metadata: { password: text({ description: "", default: "" }) },
  async open({ password }, { name }): Promise<SecretStore> {
    return {
      features: new Set<never>(),
      get: async (key: string) => ({ [key]: `${name}${password ? `(${password})` : ""}/${key}`, other: "o" }),
      bulkGet: async () => ({}),
      close: async () => void closed.push(name),
    };
  },
});

/** A lock store that remembers what it was opened with. */
const probe = component({
  type: "lock.probe",
  version: "v1",
  status: "stable",
  summary: "",
  metadata: {
    value: text({ description: "", default: "" }),
    fails: flag({ description: "", default: false }),
    hangs: flag({ description: "", default: false }),
  },
  async open({ value, fails, hangs }, { name }) {
    if (fails) throw new Error("it can not be reached");
    if (hangs) await new Promise(() => {});
    return {
      value,
      tryLock: async () => 1,
      unlock: async () => "success" as const,
      close: async () => void closed.push(`${name}=${value}`),
    };
  },
});

function resource(
  name: string,
  type: string,
  metadata: MetadataItem[] = [],
  rest: Partial<Omit<ComponentResource, "spec">> & { spec?: Partial<ComponentSpec> } = {},
): ComponentResource {
  const at = (...path: (string | number)[]) => ({ file: `${name}.yaml`, line: path.length, column: 1 });
  return {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Component",
    name,
    namespace: "",
    scopes: [],
    source: at(),
    at,
    ...rest,
    spec: { type, version: "v1", metadata, ...rest.spec },
  };
}

async function load(resources: ComponentResource[], options: Partial<ComponentsOptions> = {}) {
  components = await createComponents({
    definitions: definitionsOf([vault, probe] as ComponentDefinition[]),
    resources,
    implicit: [],
    principal: { appId: "app", namespace: "ns" },
    namespaceFilter: "",
    deny: [],
    isStrict: false,
    log,
    edges: realEdges(),
    env: {},
    ...options,
  });
  return components;
}

const valueOfProbe = (name: string) => components?.find("lock", name)?.properties.get("value");

test("createComponents() opens built-in components and says so as daprd does", async () => {
  const { find, all } = await load([
    resource("store", "state.in-memory"),
    resource("bus", "pubsub.in-memory"),
  ]);
  expect(lines).toEqual([
    "Component loaded: store (state.in-memory/v1)",
    "Component loaded: bus (pubsub.in-memory/v1)",
  ]);
  expect(find.call(components, "state", "store")?.capabilities).toContain("ACTOR");
  expect(find.call(components, "pubsub", "store")).toBeUndefined();
  expect(all.call(components).map((one) => one.name)).toEqual(["store", "bus"]);
});

test("createComponents() fills templates, secrets and variables in", async () => {
  await load(
    [
      resource("uses-secret", "lock.probe", [{ name: "value", secretKeyRef: { name: "pw" } }], {
        secretStore: "v2",
      }),
      resource("uses-key", "lock.probe", [{ name: "value", secretKeyRef: { name: "pw", key: "other" } }], {
        secretStore: "v1",
      }),
      resource("uses-env", "lock.probe", [{ name: "value", envRef: "REGION" }]),
      resource("templated", "lock.probe", [{ name: "value", value: "{appID} {namespace} {podName}" }]),
      resource("v2", "secretstores.vault", [{ name: "password", secretKeyRef: { name: "root" } }], {
        secretStore: "v1",
      }),
      resource("v1", "secretstores.vault"),
    ],
    { env: { REGION: "eu", POD_NAME: "pod-1" } },
  );
  expect(valueOfProbe("uses-secret")).toBe("v2(v1/root)/pw");
  expect(valueOfProbe("uses-key")).toBe("o");
  expect(valueOfProbe("uses-env")).toBe("eu");
  expect(valueOfProbe("templated")).toBe("app ns.app pod-1");
  expect(components?.find("lock", "templated")?.isNamespaceScoped).toBe(true);
  expect(components?.find("lock", "uses-env")?.isNamespaceScoped).toBe(false);
});

test("createComponents() makes each {uuid} a new one", async () => {
  await load([resource("a", "lock.probe", [{ name: "value", value: "{uuid} {uuid}" }])]);
  const [first, second] = valueOfProbe("a")?.split(" ") ?? [];
  expect(first).toMatch(/^[0-9a-f-]{36}$/);
  expect(second).not.toBe(first);
});

const failing: [string, ComponentResource, string][] = [
  [
    "an unknown type",
    resource("a", "state.in-memroy"),
    "process component a error: [INIT_COMPONENT_FAILURE]: initialization error occurred for a (state.in-memroy/v1): couldn't find state store state.in-memroy/v1; did you mean state.in-memory? (a.yaml:2:1)",
  ],
  ["an unknown kind", resource("a", "satte.redis"), "incorrect type satte.redis"],
  ["a kind to come", resource("a", "workflow.temporal"), "components of kind workflow are not implemented"],
  [
    "a kind of the Configuration",
    resource("a", "nameresolution.sqlite", [{ name: "connectionString", value: "x" }]),
    "name resolution is chosen in spec.nameResolution of a Configuration",
  ],
  ["a wrong value", resource("a", "lock.probe", [{ name: "fails", value: "x" }]), 'got "x" (a.yaml:4:1)'],
  [
    "a variable of the runtime",
    resource("a", "lock.probe", [{ name: "value", envRef: "DAPR_API_TOKEN" }]),
    "not allowed",
  ],
  [
    "no secret store",
    resource("a", "lock.probe", [{ name: "value", secretKeyRef: { name: "x" } }]),
    "secretstore is not loaded",
  ],
  [
    "no pod name",
    resource("a", "lock.probe", [{ name: "value", value: "{podName}" }]),
    "POD_NAME is not set",
  ],
  ["a failure", resource("a", "lock.probe", [{ name: "fails", value: true }]), "it can not be reached"],
];
test.each(failing)("createComponents() fails for %s", async (_, bad, message) => {
  await expect(load([resource("good", "lock.probe"), bad])).rejects.toThrow(message);
  expect(closed).toEqual(["good="]);
});

test("createComponents() gives up a component that takes too long", async () => {
  const slow = resource("slow", "lock.probe", [{ name: "hangs", value: true }], {
    spec: { initTimeoutMs: 5 },
  });
  await expect(load([slow])).rejects.toThrow("init timeout for component slow exceeded after 5ms");
});

test("createComponents() tries a component that may fail later, when nobody answered in time", async () => {
  const clock = new SimulatedClock();
  let tries = 0;
  const busy = component({
    ...{ type: "lock.busy", version: "v1", status: "stable", summary: "", metadata: {} },
    async open() {
      if (++tries === 1) await new Promise(() => {});
      return { tryLock: async () => 1, unlock: async () => "success" as const, close: async () => {} };
    },
  });
  const spec = { initTimeoutMs: 5_000, ignoreErrors: true };
  const definitions = definitionsOf([busy] as ComponentDefinition[]);
  const loading = load([resource("late", "lock.busy", [], { spec })], {
    definitions,
    edges: { ...realEdges(), clock },
  });
  await until(() => tries === 1, "the first try");
  clock.advance(5_000);
  await loading;
  expect(components?.find("lock", "late")).toBeUndefined();
  await until(() => {
    clock.advance(1_000);
    return components?.find("lock", "late") !== undefined;
  }, "the second try");
});

test("createComponents() goes on without a component that may fail, in daprd's words", async () => {
  const bad = resource("a", "lock.probe", [{ name: "fails", value: true }], { spec: { ignoreErrors: true } });
  await load([bad, resource("b", "lock.probe")], { isStrict: true });
  const failure = "[INIT_COMPONENT_FAILURE]: initialization error occurred for a (lock.probe/v1): ";
  expect(lines[0]).toStartWith(`error Failed to init component a (lock.probe/v1): ${failure}it can not`);
  expect(lines[1]).toStartWith(
    `error Ignoring error processing component: process component a error: ${failure}${failure}it can not`,
  );
  expect(components?.all().map((one) => one.name)).toEqual(["b"]);
});

test("createComponents() refuses two components of one name", async () => {
  const twice = load([resource("a", "state.in-memory"), resource("a", "pubsub.in-memory")]);
  await expect(twice).rejects.toThrow(
    "failed to load components: duplicate definition of Component name a (pubsub.in-memory/v1) with existing a (state.in-memory/v1)",
  );
});

test("createComponents() refuses a second actor state store", async () => {
  const actors = [{ name: "actorStateStore", value: "true" }];
  const twice = load([resource("a", "state.in-memory", actors), resource("b", "state.in-memory", actors)]);
  await expect(twice).rejects.toThrow("detected duplicate actor state store: a and b");
});

test("createComponents() heeds scopes, namespaces and denied types", async () => {
  await load(
    [
      resource("mine", "lock.probe", [], { scopes: ["app", "other"] }),
      resource("theirs", "lock.probe", [], { scopes: ["other"] }),
      resource("here", "lock.probe", [], { namespace: "ns" }),
      resource("elsewhere", "lock.probe", [], { namespace: "far" }),
      resource("denied", "state.in-memory"),
    ],
    { namespaceFilter: "ns", deny: ["state.in-memory"] },
  );
  expect(components?.all().map((one) => one.name)).toEqual(["mine", "here"]);
  expect(lines.join()).toContain("denied (state.in-memory/v1) is not loaded");
});

test("createComponents() adds implicit components where no resource has the name", async () => {
  const implicit = ["one", "two", "three"].map((name) => ({
    name,
    type: "lock.probe",
    metadata: { value: "implicit" },
  }));
  await load([resource("two", "lock.probe"), resource("three", "lock.probe", [], { scopes: ["other"] })], {
    implicit,
  });
  expect(valueOfProbe("one")).toBe("implicit");
  expect(valueOfProbe("two")).toBeUndefined();
  expect(components?.find("lock", "three")).toBeUndefined();
});

test("createComponents() leaves actors to the resource that asks for them", async () => {
  const implicit = [{ name: "statestore", type: "state.in-memory", metadata: { actorStateStore: "true" } }];
  await load([resource("mine", "state.in-memory", [{ name: "actorStateStore", value: true }])], { implicit });
  expect(components?.find("state", "statestore")?.properties.has("actorstatestore")).toBe(false);
});

test("createComponents() refuses unknown metadata fields; as daprd it warns", async () => {
  const bad = [resource("a", "lock.probe", [{ name: "vlaue", value: "x" }])];
  const said = 'metadata field vlaue is not known to lock.probe; did you mean "value"?';
  const error = await load(bad).catch((thrown: Error) => thrown);
  expect((error as Error).message).toContain(said);
  lines = [];
  await load(bad, { isStrict: true });
  expect(lines[0]).toBe(`warn ${said}; it has no effect`);
});

test("apply() adds, replaces and removes, and tells of it", async () => {
  const value = (text: string) => [{ name: "value", value: text }];
  await load([
    resource("kept", "lock.probe"),
    resource("changed", "lock.probe", value("1")),
    resource("gone", "lock.probe"),
  ]);
  const changes: unknown[] = [];
  components?.onChange((change) => {
    changes.push(`${change.action} ${change.name}: ${closed.length} closed`);
  });
  lines = [];
  await components?.apply([
    resource("kept", "lock.probe"),
    resource("changed", "lock.probe", value("2")),
    resource("fresh", "lock.probe"),
  ]);
  // Each was announced while the old one could still be used.
  expect(changes).toEqual(["removed gone: 0 closed", "replaced changed: 1 closed", "added fresh: 2 closed"]);
  expect(closed).toEqual(["gone=", "changed=1"]);
  expect(valueOfProbe("changed")).toBe("2");
  expect(lines).toEqual([
    "Component deleted: gone (lock.probe/v1)",
    "Component updated: changed (lock.probe/v1)",
    "Component loaded: fresh (lock.probe/v1)",
  ]);
});

test("apply() keeps the old version of what can not be opened", async () => {
  await load([resource("a", "lock.probe", [{ name: "value", value: "old" }])]);
  await components?.apply([resource("a", "lock.probe", [{ name: "fails", value: true }])]);
  expect(valueOfProbe("a")).toBe("old");
  expect(closed).toEqual([]);
  expect(lines.at(-1)).toContain("it can not be reached (a.yaml:2:1); the old version stays");
});

test("apply() does nothing for an unchanged set, or one with duplicates", async () => {
  await load([resource("a", "lock.probe")]);
  const before = components?.find("lock", "a")?.instance;
  await components?.apply([resource("a", "lock.probe")]);
  await components?.apply([resource("a", "lock.probe"), resource("a", "state.in-memory")]);
  expect(components?.find("lock", "a")?.instance).toBe(before as NonNullable<typeof before>);
  expect(lines.at(-1)).toStartWith("error components are not reloaded: failed to load components: duplicate");
});

test("apply() refuses to change the store of actors, as daprd does", async () => {
  const actors = [{ name: "actorStateStore", value: "true" }];
  await load([resource("store", "state.in-memory", actors)]);
  const before = components?.find("state", "store")?.instance;
  await components?.apply([]);
  await components?.apply([
    resource("store", "state.in-memory", [...actors, { name: "keyPrefix", value: "none" }]),
  ]);
  expect(components?.find("state", "store")?.instance).toBe(before as NonNullable<typeof before>);
  expect(lines.at(-1)).toBe(
    "error Aborting to hot-reload a state store component that is used as an actor state store: store (state.in-memory/v1)",
  );
});

test("apply() brings an implicit component back when its resource goes", async () => {
  const implicit = [{ name: "lockstore", type: "lock.probe", metadata: { value: "implicit" } }];
  await load([resource("lockstore", "lock.probe", [{ name: "value", value: "mine" }])], { implicit });
  await components?.apply([]);
  expect(valueOfProbe("lockstore")).toBe("implicit");
});

test("resolve() gives the values of other resources", async () => {
  await load([resource("v1", "secretstores.vault")]);
  const endpoint = { ...resource("endpoint", ""), kind: "HTTPEndpoint", secretStore: "v1" };
  const values = await components?.resolve(endpoint, [{ name: "Token", secretKeyRef: { name: "t" } }]);
  expect(values?.get("Token")).toBe("v1/t");
});

test("close() closes everything, secret stores last", async () => {
  await load([resource("v1", "secretstores.vault"), resource("a", "lock.probe")]);
  await components?.close();
  expect(closed).toEqual(["a=", "v1"]);
});
