import { expect, test } from "bun:test";
import type { Configuration } from "../resource/resource.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { Log, Span } from "../telemetry/telemetry.ts";
import { createTracer } from "../telemetry/tracer.ts";
import { baggage } from "./baggage.ts";
import { type Layer, type LayerCall, type Subject, stack } from "./layer.ts";
import { layers } from "./layers.ts";
import { trace } from "./trace.ts";

const nothing = () => {};
const log: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => log,
};

function subject(changes: Partial<Subject<string>> = {}, tracing: Partial<Configuration["tracing"]> = {}) {
  const configuration = {
    tracing: { samplingRate: 0, stdout: false, ...tracing },
    metrics: { enabled: false, http: {} },
    apiLogging: { enabled: false },
  } as unknown as Configuration;
  const made: Subject<string> = {
    appId: "shop",
    namespace: "default",
    protocol: "http",
    operation: "GetState",
    isProbe: false,
    configuration,
    telemetry: { log, metrics: createMetrics(), tracer: createTracer(0, undefined) },
    apiTokens: () => [],
    gate: undefined,
    refuse: (why) => `refused: ${why}`,
    outcomeOf: () => ({ status: "200", code: 200, isFailure: false, bytes: 0 }),
    outcomeOfError: () => ({ status: "500", code: 500, isFailure: true, bytes: 0 }),
    ...changes,
  };
  return made;
}

function recordedSpan(): Span & { events: unknown[] } {
  const events: unknown[] = [];
  return {
    events,
    isRecorded: true,
    context: { traceId: "", spanId: "", sampled: true, traceState: "" },
    rename: (name) => void events.push(["rename", name]),
    set: (name, value) => void events.push([name, value]),
    end: (status) => void events.push(["end", status?.code]),
  };
}

function call(span = recordedSpan()): LayerCall {
  return {
    header: () => undefined,
    headers: () => [
      ["dapr-api-token", "secret"],
      ["dapr-tenant", "blue"],
    ],
    setReplyHeader: nothing,
    span,
    label: "GET /x",
    metricPath: "/x",
    verb: "GET",
    requestBytes: 0,
    signal: new AbortController().signal,
  };
}

test("stack() leaves nothing around a handler when nothing is configured", () => {
  const handler = () => "done";
  expect(stack(layers, handler, subject({ isProbe: true }))).toBe(handler);
});

test("stack() puts the first layer outermost", () => {
  const named = (name: string): Layer => ({
    name,
    wrap:
      (next, { outcomeOf: _ }) =>
      (given) => {
        order.push(name);
        return next(given);
      },
  });
  const order: string[] = [];
  stack([named("a"), named("b")], () => "done", subject())(call());
  expect(order).toEqual(["a", "b"]);
});

test("stack() refuses in front of the handler", () => {
  const run = stack(layers, () => "done", subject({ apiTokens: () => ["t"] }));
  expect(run(call())).toBe("refused: missing");
});

test("trace ends the span with the outcome, whether the reply comes at once, later or never", async () => {
  const traced = subject({}, { samplingRate: 1, stdout: true });
  const ends = async (handler: () => string | Promise<string>): Promise<unknown> => {
    const span = recordedSpan();
    await (async () => stack([trace], handler, traced)(call(span)))().catch(nothing);
    expect(span.events[0]).toEqual(["dapr.api", "GET /x"]);
    expect(span.events).toContainEqual(["dapr-tenant", "blue"]);
    expect(JSON.stringify(span.events)).not.toContain("secret");
    return span.events.slice(-2);
  };
  const failing = () => {
    throw new Error("no");
  };
  const good = [
    ["dapr.status_code", "200"],
    ["end", undefined],
  ];
  const bad = [
    ["dapr.status_code", "500"],
    ["end", 2],
  ];
  expect(await ends(() => "now")).toEqual(good);
  expect(await ends(async () => "later")).toEqual(good);
  expect(await ends(failing)).toEqual(bad);
  expect(await ends(async () => failing())).toEqual(bad);
});

test("baggage goes on and back when it is well formed, and is refused otherwise", () => {
  const run = stack([baggage], () => "done", subject());
  const replied: unknown[] = [];
  const withBaggage = (text: string): LayerCall => ({
    ...call(),
    header: (name) => (name === "baggage" ? text : undefined),
    setReplyHeader: (name, value) => void replied.push([name, value]),
  });
  expect(run(withBaggage("user=alice, tenant=t1;prop"))).toBe("done");
  expect(replied).toEqual([["baggage", "user=alice, tenant=t1;prop"]]);
  for (const bad of ["no equals sign", "a=b,,c=d", "a=\u00e9", `a=${"x".repeat(8192)}`]) {
    expect(() => run(withBaggage(bad))).toThrow("invalid baggage header");
  }
});
