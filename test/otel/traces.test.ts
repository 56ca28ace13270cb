// Traces of real processes, as a real OpenTelemetry collector receives them.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  formatTraceBinary,
  formatTraceparent,
  parseTraceBinary,
  randomHex,
} from "../../src/telemetry/propagation.ts";
import { type FakeApp, fakeApp } from "../../src/testing/fake-app.ts";
import { InvokeServiceRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/invoke_pb.js";
import { GetStateRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/state_pb.js";
import { Cleanup, eventually } from "../mecha-process.ts";
import {
  callGrpc,
  component,
  fieldOf,
  type GrpcApp,
  grpcApp,
  type SidecarProcess,
  startSidecar,
} from "../scenario/telemetry-fixture.ts";
import { type Collector, type ReceivedSpan, startCollector } from "./collector.ts";

setDefaultTimeout(60_000);
const buildMs = 15 * 60_000;
let collector: Collector;
beforeAll(async () => {
  collector = await startCollector();
}, buildMs);
afterAll(() => collector?.close());

const kinds = { server: 2, client: 3, consumer: 5 };

function exporting(protocol: "http" | "grpc", rate = "1"): string {
  const port = protocol === "http" ? collector.httpPort : collector.grpcPort;
  return `  tracing:
    samplingRate: "${rate}"
    otel: { endpointAddress: "127.0.0.1:${port}", isSecure: false, protocol: ${protocol}, timeout: 2s }
`;
}

/** A context as an app of the user would send it. */
function callerContext(sampled = true) {
  return { traceId: randomHex(16), spanId: randomHex(8), sampled, traceState: "vendor=1" };
}

function spanIdOf(traceparent: string): string {
  return traceparent.split("-")[2] ?? "";
}

const baggage = "user=alice,tenant=t1;prop";

describe("two processes", () => {
  const cleanup = new Cleanup();
  let front: SidecarProcess;
  let httpApp: FakeApp;
  let grpcCallee: GrpcApp;

  beforeAll(async () => {
    const folder = cleanup.folder();
    const subscriptions = [{ pubsubname: "bus", topic: "orders", route: "/orders" }];
    httpApp = await fakeApp({ subscriptions, handlers: { "GET /hello/world": () => ({ body: "hi" }) } });
    cleanup.add(() => httpApp.close());
    grpcCallee = await grpcApp(cleanup);
    const resources = component("bus", "pubsub.mecha") + component("store", "state.in-memory");
    const shared = { folder, resources };
    [front] = await Promise.all([
      startSidecar(cleanup, { ...shared, appId: "front", configuration: exporting("http") }),
      startSidecar(cleanup, {
        ...shared,
        appId: "back",
        configuration: exporting("grpc"),
        flags: ["--app-port", httpApp.port],
      }),
      startSidecar(cleanup, {
        ...shared,
        appId: "grpcback",
        configuration: exporting("grpc"),
        flags: ["--app-port", grpcCallee.port, "--app-protocol", "grpc"],
      }),
    ]);
  }, 60_000);
  afterAll(() => cleanup.run());

  const spanOf = (traceId: string, service: string, name: string): Promise<ReceivedSpan> =>
    collector.arrived((span) => span.traceId === traceId && span.service === service && span.name === name);

  test("HTTP to HTTP: caller, both runtimes and callee are one trace, with baggage", async () => {
    const caller = callerContext();
    const headers = {
      traceparent: formatTraceparent(caller),
      tracestate: caller.traceState,
      baggage,
      "dapr-api-token": "planted-token",
      "dapr-tenant": "blue",
    };
    const reply = await fetch(front.url("/v1.0/invoke/back/method/hello/world?secret=q"), { headers });
    expect(await reply.text()).toBe("hi");
    expect(reply.headers.get("baggage")).toBe(baggage);
    const outer = await spanOf(caller.traceId, "front", "CallLocal/back/hello/world");
    const inner = await spanOf(caller.traceId, "back", "CallLocal/back/hello/world");
    expect(outer).toMatchObject({ kind: kinds.client, parentSpanId: caller.spanId });
    expect(inner).toMatchObject({ kind: kinds.server, parentSpanId: outer.spanId });
    expect(outer.attributes).toMatchObject({
      "dapr.api": "GET /v1.0/invoke/back/method/hello/world",
      "dapr.protocol": "http",
      "dapr.status_code": "200",
      "rpc.service": "ServiceInvocation",
      "net.peer.name": "back",
      "http.request.method": "GET",
      "dapr-tenant": "blue",
    });
    expect(inner.attributes["dapr.invoke_method"]).toBe("hello/world");
    const seen = httpApp.requests.find(({ target }) => target.startsWith("/hello/world"));
    expect(seen?.header("traceparent")).toBe(`00-${caller.traceId}-${inner.spanId}-01`);
    expect(seen?.header("tracestate")).toBe("vendor=1");
    expect(seen?.header("baggage")).toBe(baggage);
    expect(spanIdOf(reply.headers.get("traceparent") ?? "")).toBe(outer.spanId);
    expect(JSON.stringify(collector.spans())).not.toContain("planted-token");
    expect(JSON.stringify(collector.spans())).not.toContain("secret=q");
  });

  test("pub/sub: the envelope carries the trace, the consumer's span continues it", async () => {
    const caller = callerContext();
    const headers = {
      traceparent: formatTraceparent(caller),
      baggage,
      "content-type": "application/json",
    };
    const body = '{"n":1}';
    expect(
      (await fetch(front.url("/v1.0/publish/bus/orders"), { method: "POST", headers, body })).status,
    ).toBe(204);
    const published = await spanOf(caller.traceId, "front", "/v1.0/publish/bus/orders");
    expect(published.parentSpanId).toBe(caller.spanId);
    expect(published.attributes).toMatchObject({
      "messaging.system": "pubsub",
      "messaging.destination.name": "orders",
    });
    const consumed = await spanOf(caller.traceId, "back", "pubsub/orders");
    expect(consumed).toMatchObject({ kind: kinds.consumer, parentSpanId: published.spanId });
    const event = await eventually(() => {
      const found = httpApp.requests.find(
        ({ target, text }) => target === "/orders" && text.includes(caller.traceId),
      );
      if (found === undefined) throw new Error("no event yet");
      return found;
    });
    const envelope = event.json() as Record<string, string>;
    expect(spanIdOf(envelope.traceparent ?? "")).toBe(published.spanId);
    expect(envelope.traceid).toBe(envelope.traceparent as string);
    expect(event.header("traceparent")).toBe(`00-${caller.traceId}-${consumed.spanId}-01`);
    expect(event.header("baggage")).toBe(baggage);
  });

  test("gRPC to gRPC by proxy: grpc-trace-bin in and out", async () => {
    const caller = callerContext();
    const path = "/shop.v1.Orders/Get";
    const metadata: [string, string][] = [
      ["dapr-app-id", "grpcback"],
      ["grpc-trace-bin", formatTraceBinary(caller)],
      ["baggage", baggage],
    ];
    await callGrpc(front.grpc, path, { metadata });
    const outer = await spanOf(caller.traceId, "front", path);
    const inner = await spanOf(caller.traceId, "grpcback", path);
    expect(outer).toMatchObject({ kind: kinds.client, parentSpanId: caller.spanId });
    expect(inner).toMatchObject({ kind: kinds.server, parentSpanId: outer.spanId });
    const seen = grpcCallee.calls.find((call) => call.path === path)?.metadata ?? [];
    expect(parseTraceBinary(fieldOf(seen, "grpc-trace-bin"))?.spanId).toBe(inner.spanId);
    expect(spanIdOf(fieldOf(seen, "traceparent"))).toBe(inner.spanId);
    expect(fieldOf(seen, "baggage")).toBe(baggage);
  });

  test("InvokeService, and HTTP to a gRPC app", async () => {
    const onInvoke = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
    const first = callerContext();
    const request = toBinary(
      InvokeServiceRequestSchema,
      create(InvokeServiceRequestSchema, {
        id: "grpcback",
        message: { method: "ping", httpExtension: { verb: 3 } },
      }),
    );
    const invoke = "/dapr.proto.runtime.v1.Dapr/InvokeService";
    const metadata: [string, string][] = [["traceparent", formatTraceparent(first)]];
    await callGrpc(front.grpc, invoke, { request, metadata });
    const second = callerContext();
    const headers = { traceparent: formatTraceparent(second), baggage };
    expect((await fetch(front.url("/v1.0/invoke/grpcback/method/pong"), { headers })).status).toBe(200);
    for (const [context, name] of [
      [first, "CallLocal/grpcback/ping"],
      [second, "CallLocal/grpcback/pong"],
    ] as const) {
      const outer = await spanOf(context.traceId, "front", name);
      const inner = await spanOf(context.traceId, "grpcback", name);
      expect(outer.parentSpanId).toBe(context.spanId);
      expect(inner.parentSpanId).toBe(outer.spanId);
      const seen = grpcCallee.calls
        .filter(({ path }) => path === onInvoke)
        .map((call) => call.metadata)
        .find((fields) => fieldOf(fields, "traceparent").includes(context.traceId));
      expect(spanIdOf(fieldOf(seen ?? [], "traceparent"))).toBe(inner.spanId);
    }
  });

  test("building blocks are described, over HTTP and gRPC; the gRPC caller gets its context back", async () => {
    const caller = callerContext();
    const headers = { traceparent: formatTraceparent(caller) };
    await fetch(front.url("/v1.0/state/store/key-1"), { headers });
    await fetch(front.url("/v1.0/state/nothing/key-1"), { headers });
    const read = await spanOf(caller.traceId, "front", "/v1.0/state/store/key-1");
    expect(read.attributes).toMatchObject({
      "db.system": "state",
      "db.name": "store",
      "dapr.status_code": "204",
    });
    const failed = await spanOf(caller.traceId, "front", "/v1.0/state/nothing/key-1");
    expect(failed.status.code).toBe(2);
    const path = "/dapr.proto.runtime.v1.Dapr/GetState";
    const request = toBinary(
      GetStateRequestSchema,
      create(GetStateRequestSchema, { storeName: "store", key: "key-1" }),
    );
    const metadata: [string, string][] = [["traceparent", formatTraceparent(caller)]];
    const { headers: replied } = await callGrpc(front.grpc, path, { request, metadata });
    const span = await spanOf(caller.traceId, "front", path);
    expect(span.attributes).toMatchObject({
      "rpc.service": "Dapr",
      "db.name": "store",
      "dapr.protocol": "grpc",
      "dapr.status_code": "OK",
    });
    expect(parseTraceBinary(replied.get("grpc-trace-bin"))?.spanId).toBe(span.spanId);
  });

  test("health probes have no spans, and what the caller did not sample has none either", async () => {
    const unsampled = callerContext(false);
    await fetch(front.url("/v1.0/invoke/back/method/quiet"), {
      headers: { traceparent: formatTraceparent(unsampled) },
    });
    const seen = httpApp.requests.find(({ target }) => target === "/quiet");
    expect(seen?.header("traceparent")).toMatch(new RegExp(`^00-${unsampled.traceId}-[0-9a-f]{16}-00$`));
    await fetch(front.url("/v1.0/healthz"));
    const marker = callerContext();
    await fetch(front.url("/v1.0/metadata"), { headers: { traceparent: formatTraceparent(marker) } });
    await spanOf(marker.traceId, "front", "/v1.0/metadata");
    expect(collector.spans().filter(({ traceId }) => traceId === unsampled.traceId)).toEqual([]);
    expect(collector.spans().filter(({ name }) => name.includes("healthz"))).toEqual([]);
  });

  test("malformed baggage is refused", async () => {
    const reply = await fetch(front.url("/v1.0/metadata"), { headers: { baggage: "no equals sign" } });
    expect(reply.status).toBe(400);
    expect(await reply.text()).toContain("invalid baggage header");
  });
});

describe("exporting", () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());
  const start = (appId: string, configuration: string, env: Record<string, string> = {}) =>
    startSidecar(cleanup, { appId, configuration, env, folder: cleanup.folder() });

  test("spans that are left go out when the runtime stops", async () => {
    const { process, url } = await start("leaving", exporting("http"));
    await fetch(url("/v1.0/metadata"));
    process.child.kill("SIGTERM");
    expect(await process.ended).toBe(0);
    await collector.arrived(({ service, name }) => service === "leaving" && name === "/v1.0/metadata");
  });

  test.each(["http", "grpc"] as const)(
    "over %s: a collector that dies and comes back hurts nobody",
    async (protocol) => {
      const appId = `patient-${protocol}`;
      const { process, url } = await start(appId, exporting(protocol));
      await collector.kill();
      for (let i = 0; i < 20; i++) expect((await fetch(url("/v1.0/metadata"))).status).toBe(200);
      await process.printed("spans can not be exported to 127.0.0.1:");
      await collector.start();
      await eventually(async () => {
        await fetch(url("/v1.0/metadata"));
        const back = collector.spans().some(({ service }) => service === appId);
        if (!back) throw new Error("no span since the collector came back");
      }, 30_000);
      await process.printed("again");
      expect(process.output().match(/spans can not be exported/g)).toHaveLength(1);
      await collector.kill();
      await fetch(url("/v1.0/metadata"));
      process.child.kill("SIGTERM");
      expect(await process.ended).toBe(0);
      expect(process.output()).toContain("Daprd shutdown gracefully");
      await collector.start();
    },
    90_000,
  );

  test("OTEL_* variables name the endpoint, the service and its resource", async () => {
    const { url } = await start("by-env", "", {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.httpPort}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
      OTEL_SERVICE_NAME: "renamed",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=blue",
    });
    await fetch(url("/v1.0/metadata"));
    const span = await collector.arrived(({ service }) => service === "renamed");
    expect(span.resource["deployment.environment"]).toBe("blue");
  });

  test("a rate between decides for each trace; zero turns tracing off", async () => {
    const half = await start("half", exporting("http", "0.5"));
    const none = await start("none", exporting("http", "0"));
    for (let i = 0; i < 100; i++) await fetch(half.url("/v1.0/metadata"));
    const silent = await fetch(none.url("/v1.0/metadata"), {
      headers: { traceparent: formatTraceparent(callerContext()) },
    });
    expect(silent.headers.get("traceparent")).toBeNull();
    half.process.child.kill("SIGTERM");
    none.process.child.kill("SIGTERM");
    await Promise.all([half.process.ended, none.process.ended]);
    await collector.arrived(({ service }) => service === "half");
    const count = collector.spans().filter(({ service }) => service === "half").length;
    expect(count).toBeGreaterThan(15);
    expect(count).toBeLessThan(85);
    expect(collector.spans().filter(({ service }) => service === "none")).toEqual([]);
  });
});
