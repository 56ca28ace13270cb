import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { Resource } from "../../resource/resource.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log, Telemetry } from "../../telemetry/telemetry.ts";
import { createTracer } from "../../telemetry/tracer.ts";
import type { ResiliencePolicy } from "./policy.ts";
import { createResilience, type Resilience } from "./resilience.ts";

const nothing = () => {};
const log: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => log,
};

function telemetry(): Telemetry {
  return { log, metrics: createMetrics(), tracer: createTracer(0, undefined) };
}

function resource(spec: object, name = "policies"): Resource {
  return { kind: "Resiliency", name, namespace: "default", spec } as unknown as Resource;
}

const policies = {
  timeouts: { short: "1s", DefaultTimeoutPolicy: "30s" },
  retries: {
    thrice: { policy: "constant", duration: "1ms", maxRetries: 3 },
    DefaultStatestoreComponentOutboundRetryPolicy: { maxRetries: 7 },
    DefaultAppRetryPolicy: { maxRetries: 9 },
    DaprBuiltInServiceRetries: { policy: "constant", duration: "10ms", maxRetries: 1 },
  },
  circuitBreakers: { simple: { trip: "consecutiveFailures >= 2", timeout: "5s" } },
};

function open(targets: object, more: Resource[] = []) {
  const options = { appId: "shop", telemetry: telemetry(), clock: new SimulatedClock() };
  return createResilience([resource({ policies, targets }), ...more], options);
}

test("createResilience() is nothing without resources", () => {
  expect(createResilience([], { appId: "shop", telemetry: telemetry() })).toBeUndefined();
});

test("createResilience() finds the policies of a component by direction", () => {
  const resilience = open({ components: { store: { outbound: { retry: "thrice" } } } });
  expect(resilience?.component("state", "store", "outbound")?.hasRetries).toBe(true);
  // A target that is named gets what is named there, and no defaults.
  expect(resilience?.component("state", "store", "inbound")).toBeUndefined();
});

test("createResilience() falls back to defaults from the special to the general", () => {
  const resilience = open({});
  expect(resilience?.component("state", "any", "outbound")?.hasRetries).toBe(true);
  expect(resilience?.component("lock", "any", "outbound")?.hasRetries).toBe(false);
  expect(resilience?.app("any", "any:/x")?.hasRetries).toBe(true);
});

test("createResilience() has nothing where nothing applies", () => {
  const options = { appId: "shop", telemetry: telemetry() };
  const bare = createResilience([resource({ policies: { timeouts: { unused: "1s" } } })], options);
  expect(bare?.component("state", "store", "outbound")).toBeUndefined();
  expect(bare?.app("cart", "cart:/x")).toBeUndefined();
});

test("createResilience() keeps one breaker per method of an app and forgets the oldest", async () => {
  const resilience = open({ apps: { cart: { circuitBreaker: "simple", circuitBreakerCacheSize: 2 } } });
  const first = resilience?.app("cart", "cart:/a");
  expect(resilience?.app("cart", "cart:/a")).toBe(first as never);
  expect(resilience?.app("cart", "cart:/b")).not.toBe(first as never);
  resilience?.app("cart", "cart:/c");
  expect(resilience?.app("cart", "cart:/a")).not.toBe(first as never);
});

test("createResilience() lets a later resource override a policy of the same name", async () => {
  const later = resource({ policies: { retries: { thrice: { maxRetries: 0 } } } }, "later");
  const resilience = open({ apps: { cart: { retry: "thrice" } } }, [later]);
  expect(resilience?.app("cart", "cart:/a")?.hasRetries).toBe(false);
});

test("createResilience() does not let built-in retries fall below three", () => {
  expect(open({})?.builtIn("DaprBuiltInServiceRetries")).toMatchObject({ retriesMax: 3, durationMs: 10 });
});

test("createResilience() counts what its policies do", async () => {
  const parts = telemetry();
  const spec = { policies, targets: { components: { store: { outbound: { retry: "thrice" } } } } };
  const resilience = createResilience([resource(spec)], { appId: "shop", telemetry: parts });
  const failing = () => Promise.reject(new Error("no"));
  await resilience?.component("state", "store", "outbound")?.run(failing).catch(nothing);
  const labels =
    '{app_id="shop",flow_direction="outbound",name="policies",namespace="default",policy="retry",status="",target="Statestore_store"}';
  const text = parts.metrics.text();
  expect(text).toContain(`dapr_resiliency_activations_total${labels} 3\n`);
  expect(text).toContain(`dapr_resiliency_count${labels} 1\n`);
  expect(text).toContain('dapr_resiliency_loaded{app_id="shop",name="policies",namespace="default"} 1\n');
});

const guarded = (changes: { openFor?: string; scope?: string; retry?: string } = {}) => {
  const { openFor = "60s", scope = "both", retry = "" } = changes;
  const some = { retry, circuitBreaker: "guard" };
  return resource({
    policies: {
      retries: { none: { maxRetries: 0 } },
      circuitBreakers: { guard: { timeout: openFor } },
    },
    targets: {
      apps: { cart: some },
      components: { store: { outbound: some, inbound: some } },
      actors: { Cat: { ...some, circuitBreakerScope: scope } },
    },
  });
};
const uses: [what: string, find: (of: Resilience | undefined) => ResiliencePolicy | undefined][] = [
  ["an app's method", (of) => of?.app("cart", "cart:/a")],
  ["a component", (of) => of?.component("state", "store", "outbound")],
  ["events of a component", (of) => of?.component("pubsub", "store", "inbound")],
  ["an actor", (of) => of?.actor("Cat", "tom")],
];

async function said(policy: ResiliencePolicy | undefined): Promise<unknown> {
  return policy?.run(async () => "fine").catch((error) => error.message);
}

test.each(uses)(
  "createResilience() keeps the breaker of %s that an edit leaves as it was",
  async (_, find) => {
    const parts = telemetry();
    const options = { appId: "shop", telemetry: parts, clock: new SimulatedClock() };
    const first = createResilience([resource({ policies: {} }, "first"), guarded()], options);
    const failing = () => Promise.reject(new Error("no"));
    for (let i = 0; i < 6; i++) await find(first)?.run(failing).catch(nothing);
    expect(await said(find(first))).toBe("circuit breaker is open");
    // Twice: nobody asks for it between the edits.
    const second = createResilience([guarded({ retry: "none" })], options, first);
    const third = createResilience([guarded()], options, second);
    expect(await said(find(third))).toBe("circuit breaker is open");
    options.clock.advance(60_000);
    expect(await said(find(third))).toBe("fine");
    const labels = 'name="policies",namespace="default",policy="circuitbreaker",status="closed"';
    expect(parts.metrics.text()).toMatch(new RegExp(`dapr_resiliency_cb_state\\{[^}]*${labels}[^}]*\\} 1`));
  },
);

test.each(uses)("createResilience() renews the breaker of %s that is edited", async (_, find) => {
  const options = { appId: "shop", telemetry: telemetry(), clock: new SimulatedClock() };
  const first = createResilience([guarded()], options);
  for (let i = 0; i < 6; i++)
    await find(first)
      ?.run(() => Promise.reject(new Error("no")))
      .catch(nothing);
  const second = createResilience([guarded({ openFor: "61s" })], options, first);
  expect(await said(find(second))).toBe("fine");
});

test("createResilience() does not make an actor's breaker that of its type", async () => {
  const options = { appId: "shop", telemetry: telemetry(), clock: new SimulatedClock() };
  const first = createResilience([guarded({ scope: "id" })], options);
  const tom = first?.actor("Cat", "tom");
  for (let i = 0; i < 6; i++) await tom?.run(() => Promise.reject(new Error("no"))).catch(nothing);
  const second = createResilience([guarded({ scope: "type" })], options, first);
  expect(await said(second?.actor("Cat", "felix"))).toBe("fine");
});
