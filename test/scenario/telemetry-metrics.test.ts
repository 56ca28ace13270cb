// The metrics of real processes: Dapr's names and labels, what the Configuration changes, and the list in the docs.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { type FakeApp, fakeApp } from "../../src/testing/fake-app.ts";
import { Cleanup, eventually, root } from "../mecha-process.ts";
import { callGrpc, component, grpcApp, type SidecarProcess, startSidecar } from "./telemetry-fixture.ts";

setDefaultTimeout(60_000);

const subscriptions = `apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: bulk}
spec:
  pubsubname: bus
  topic: crates
  routes: {default: /crates}
  bulkSubscribe: {enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 50}
---
`;
const resiliency = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: patience}
spec:
  policies:
    retries: {twice: {policy: constant, duration: 5ms, maxRetries: 2}}
    circuitBreakers: {fuse: {maxRequests: 1, timeout: 1s, trip: consecutiveFailures > 1}}
  targets:
    apps: {nobody: {retry: twice, circuitBreaker: fuse}}
---
`;
const resources =
  component("bus", "pubsub.mecha") +
  component("store", "state.in-memory") +
  component("vault", "secretstores.local.env") +
  component("settings", "configuration.mecha") +
  component("locks", "lock.mecha") +
  subscriptions +
  resiliency;
const broken = `${component("broken", "state.sqlite", { connectionString: "file:/no/such/folder/x.db" }).replace("spec: {", "spec: {ignoreErrors: true, ")}`;

const post = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

/** `name{labels} value` lines, by name and sorted labels. */
function samples(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.replace(/ \S+$/, ""), Number(line.split(" ").at(-1))]));
}

describe("metrics", () => {
  const cleanup = new Cleanup();
  let shop: SidecarProcess;
  let depot: SidecarProcess;
  let app: FakeApp;
  let text = "";
  let depotText = "";

  beforeAll(async () => {
    const folder = cleanup.folder();
    app = await fakeApp({
      subscriptions: [{ pubsubname: "bus", topic: "orders", route: "/orders" }],
      handlers: { "GET /items/1": () => ({ body: "one" }), "POST /crates": () => ({ body: "{}" }) },
    });
    cleanup.add(() => app.close());
    const callee = await grpcApp(cleanup);
    const configuration = "  metric: { recordErrorCodes: true }\n";
    const probes = ["--enable-app-health-check", "--app-health-probe-interval", 1];
    [shop, depot] = await Promise.all([
      startSidecar(cleanup, {
        appId: "shop",
        folder,
        resources: resources + broken,
        configuration,
        flags: ["--app-port", app.port],
        env: { COLOUR: "red" },
      }),
      startSidecar(cleanup, {
        appId: "depot",
        folder,
        configuration,
        flags: ["--app-port", callee.port, "--app-protocol", "grpc", ...probes],
      }),
    ]);
    await exercise();
    text = await eventually(async () => {
      const found = await shop.scrape();
      for (const wanted of ["ingress_count{", "ingress_bulk_event_count{"]) expect(found).toContain(wanted);
      return found;
    });
    depotText = await eventually(async () => {
      const found = await depot.scrape();
      expect(found).toContain("grpc_io_healthprobes_completed_count");
      return found;
    });
  }, 90_000);
  afterAll(() => cleanup.run());

  async function exercise(): Promise<void> {
    const { url } = shop;
    await fetch(url("/v1.0/state/store"), post([{ key: "k", value: 1 }]));
    await fetch(url("/v1.0/state/store/k"));
    await fetch(url("/v1.0/state/missing/k"));
    await fetch(url("/v1.0/publish/bus/orders"), post({ n: 1 }));
    const entries = [{ entryId: "1", event: "a", contentType: "text/plain" }];
    await fetch(url("/v1.0-alpha1/publish/bulk/bus/crates"), post(entries));
    await fetch(url("/v1.0/secrets/vault/COLOUR"));
    await fetch(url("/v1.0/configuration/settings?key=a"));
    await fetch(
      url("/v1.0-alpha1/lock/locks"),
      post({ resourceId: "r", lockOwner: "o", expiryInSeconds: 5 }),
    );
    await fetch(url("/v1.0/invoke/shop/method/items/1"));
    await fetch(url("/v1.0/invoke/depot/method/ping"));
    await fetch(depot.url("/v1.0/invoke/shop/method/items/1?q=1"));
    for (let i = 0; i < 3; i++) await fetch(url("/v1.0/invoke/nobody/method/x"));
    await callGrpc(shop.grpc, "/dapr.proto.runtime.v1.Dapr/GetMetadata");
    await callGrpc(shop.grpc, "/warehouse.v1.Depot/Count", { metadata: [["dapr-app-id", "depot"]] });
  }

  test.each([
    ["http_server_request_count", 'app_id="shop",method="GET",path="/v1.0/state/store",status="200"', 1],
    ["http_server_response_count", 'app_id="shop",method="POST",path="/v1.0/state/store",status="204"', 1],
    ["http_server_latency_count", 'app_id="shop",method="GET",path="/v1.0/state/store",status="200"', 1],
    ["http_server_request_count", 'app_id="shop",method="GET",path="/v1.0/secrets/vault",status="200"', 1],
    ["http_client_completed_count", 'app_id="shop",method="GET",path="/items/1",status="200"', 2],
    ["http_client_completed_count", 'app_id="shop",method="GET",path="/dapr/subscribe",status="200"', 1],
    [
      "component_state_count",
      'app_id="shop",component="store",namespace="default",operation="get",success="true"',
      1,
    ],
    [
      "component_secret_count",
      'app_id="shop",component="vault",namespace="default",operation="get",success="true"',
      1,
    ],
    [
      "component_configuration_count",
      'app_id="shop",component="settings",namespace="default",operation="get",success="true"',
      1,
    ],
    [
      "component_pubsub_egress_count",
      'app_id="shop",component="bus",namespace="default",success="true",topic="orders"',
      1,
    ],
    [
      "component_pubsub_egress_bulk_count",
      'app_id="shop",component="bus",namespace="default",success="true",topic="crates"',
      1,
    ],
    [
      "component_pubsub_ingress_count",
      'app_id="shop",component="bus",namespace="default",process_status="success",status="success",topic="orders"',
      1,
    ],
    [
      "component_pubsub_ingress_bulk_event_count",
      'app_id="shop",component="bus",namespace="default",process_status="retry",topic="crates"',
      1,
    ],
    ["runtime_component_loaded", 'app_id="shop"', 5],
    ["runtime_component_init_total", 'app_id="shop",component="state.in-memory"', 1],
    [
      "runtime_component_init_fail_total",
      'app_id="shop",component="state.sqlite",componentName="broken",reason="init"',
      1,
    ],
    ["runtime_service_invocation_req_sent_total", 'app_id="shop",dst_app_id="depot",type="unary"', 1],
    [
      "runtime_service_invocation_res_recv_total",
      'app_id="shop",src_app_id="depot",status="200",type="unary"',
      1,
    ],
    ["runtime_service_invocation_req_recv_total", 'app_id="shop",src_app_id="depot"', 1],
    ["runtime_service_invocation_res_sent_total", 'app_id="shop",dst_app_id="depot",status="200"', 1],
    [
      "grpc_io_server_completed_rpcs",
      'app_id="shop",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetMetadata",grpc_server_status="OK"',
      1,
    ],
    [
      "grpc_io_server_completed_rpcs",
      'app_id="shop",grpc_server_method="/warehouse.v1.Depot/Count",grpc_server_status="OK"',
      1,
    ],
    ["error_code_total", 'app_id="shop",category="state",error_code="ERR_STATE_STORE_NOT_FOUND"', 1],
    ["resiliency_loaded", 'app_id="shop",name="patience",namespace=""', 1],
  ])("dapr_%s{%s}", (name, labels, atLeast) => {
    const found = samples(text);
    const close = [...found.keys()].filter((key) => key.startsWith(`dapr_${name}{`));
    expect(found.get(`dapr_${name}{${labels}}`), close.join("\n")).toBeGreaterThanOrEqual(atLeast);
  });

  test.each([
    [
      "grpc_io_client_completed_rpcs",
      'app_id="depot",grpc_client_method="/dapr.proto.runtime.v1.AppCallback/OnInvoke",grpc_client_status="OK"',
    ],
    [
      "grpc_io_client_completed_rpcs",
      'app_id="depot",grpc_client_method="/warehouse.v1.Depot/Count",grpc_client_status="OK"',
    ],
    ["grpc_io_healthprobes_completed_count", 'app_id="depot",grpc_client_status="OK"'],
  ])("of a gRPC app: dapr_%s{%s}", (name, labels) => {
    const found = samples(depotText);
    const close = [...found.keys()].filter((key) => key.startsWith(`dapr_${name}{`));
    expect(found.get(`dapr_${name}{${labels}}`), close.join("\n")).toBeGreaterThanOrEqual(1);
  });

  test("docs/reference/metrics.md lists what is exposed, with its type and labels", () => {
    const exposed = new Map([...familiesOf(text), ...familiesOf(depotText)]);
    const documented = documentedMetrics();
    const undocumented = [...exposed].filter(([name, shape]) => documented.get(name)?.shape !== shape);
    expect(undocumented).toEqual([]);
    const missing = [...documented].filter(([name, { isExercised }]) => isExercised && !exposed.has(name));
    expect(missing.map(([name]) => name)).toEqual([]);
  });
});

/** `type label,label` by name; labels of all cells together. */
function familiesOf(text: string): Map<string, string> {
  const families = new Map<string, string>();
  for (const [, name = "", type = ""] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const suffix = type === "histogram" ? "_count" : "";
    const cells = text.split("\n").filter((line) => line.startsWith(`${name}${suffix}{`));
    const labels = new Set(cells.flatMap((cell) => [...cell.matchAll(/(\w+)="/g)].map((match) => match[1])));
    families.set(name, `${type} ${[...labels].sort().join(",")}`.trim());
  }
  return families;
}

interface Documented {
  shape: string;
  /** Rows of the page that this test can bring about. */
  isExercised: boolean;
}

function documentedMetrics(): Map<string, Documented> {
  const page = readFileSync(join(root, "docs/reference/metrics.md"), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  return new Map(
    rows.map((row) => {
      const [, name = "", type = "", labels = "", meaning = ""] = row.split("|").map((cell) => cell.trim());
      const sorted = [...labels.matchAll(/`(\w+)`/g)].map((match) => match[1]).sort();
      const shape = `${type} ${sorted.join(",")}`.trim();
      return [name.replaceAll("`", ""), { shape, isExercised: !meaning.startsWith("(") }];
    }),
  );
}

describe("the Configuration", () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());
  const start = async (configuration: string, flags: readonly (string | number)[] = []) => {
    const app = await fakeApp({ handlers: { "GET /items/1": () => ({ body: "one" }) } });
    cleanup.add(() => app.close());
    const all = ["--app-port", app.port, ...flags];
    return startSidecar(cleanup, { appId: "shop", folder: cleanup.folder(), configuration, flags: all });
  };
  const countsOf = (text: string, name: string): string[] =>
    text.split("\n").filter((line) => line.startsWith(`dapr_${name}{`) && !line.includes("healthz"));

  test("increasedCardinality: false leaves paths out, pathMatching brings chosen ones back", async () => {
    const { url, scrape } = await start(`  metrics:
    http: { increasedCardinality: false, pathMatching: ["/items/{id}", "/v1.0/metadata"] }
`);
    await fetch(url("/v1.0/invoke/shop/method/items/1"));
    await fetch(url("/v1.0/invoke/shop/method/other"));
    await fetch(url("/v1.0/metadata"));
    const text = await scrape();
    // A look at the health while the runtime still starts is answered with 500: whether there was one is chance.
    const isEarlyLook = (line: string): boolean => line.includes('path="",status="500"');
    expect(
      countsOf(text, "http_server_request_count")
        .filter((line) => !isEarlyLook(line))
        .sort(),
    ).toEqual([
      expect.stringMatching(/method="GET",path="",status="204"\} \d+$/),
      'dapr_http_server_request_count{app_id="shop",method="GET",path="",status="404"} 1',
      'dapr_http_server_request_count{app_id="shop",method="GET",path="/v1.0/invoke/{app_id}/method/items/{id}",status="200"} 1',
      'dapr_http_server_request_count{app_id="shop",method="GET",path="/v1.0/metadata",status="200"} 1',
    ]);
    expect(text).toContain(
      'http_client_completed_count{app_id="shop",method="GET",path="/items/{id}",status="200"} 1',
    );
    expect(text).toContain('http_client_completed_count{app_id="shop",method="GET",path="",status="404"} 1');
    expect(text).not.toContain("http_server_response_count");
  });

  test("excludeVerbs, latencyDistributionBuckets and rules", async () => {
    const { url, scrape } = await start(`  metrics:
    http: { excludeVerbs: true }
    latencyDistributionBuckets: [5, 500]
    rules:
      - name: dapr_http_server_request_count
        labels:
          - name: path
            regex: { "/v1.0/invoke/shop/method/items/{id}": "^/v1.0/invoke/shop/method/items/.+$" }
`);
    await fetch(url("/v1.0/invoke/shop/method/items/1"));
    await fetch(url("/v1.0/invoke/shop/method/items/2"), { method: "PUT" });
    const text = await scrape();
    const path = "/v1.0/invoke/shop/method/items/{id}";
    expect(text).toContain(
      `http_server_request_count{app_id="shop",method="",path="${path}",status="200"} 1`,
    );
    expect(text).toContain(
      `http_server_request_count{app_id="shop",method="",path="${path}",status="404"} 1`,
    );
    const bounds = [...text.matchAll(/http_server_latency_bucket\{.*status="200",le="([^"]+)"\}/g)];
    expect([...new Set(bounds.map((match) => match[1]))]).toEqual(["5", "500", "+Inf"]);
  });

  test("metrics.enabled: false counts nothing; --enable-metrics=false serves nothing", async () => {
    const idle = await start("  metrics: { enabled: false }\n");
    await fetch(idle.url("/v1.0/metadata"));
    const text = await idle.scrape();
    expect(text).not.toContain("dapr_");
    expect(text).toContain("process_resident_memory_bytes");
    const off = await start("", ["--enable-metrics=false"]);
    expect(await off.scrape().catch((error: Error) => error.name)).not.toContain("process_");
  });

  test("verbs nobody knows share a label", async () => {
    const { http, scrape } = await start("");
    const client = createHttpClient();
    cleanup.add(() => client.close());
    const target = "/v1.0/invoke/shop/method/items/1";
    await client.request({ host: "127.0.0.1", port: http }, { method: "BREW", target, headers: [] });
    const counts = countsOf(await scrape(), "http_server_request_count");
    expect(counts).toContain(
      `dapr_http_server_request_count{app_id="shop",method="UNKNOWN",path="${target}",status="404"} 1`,
    );
  });

  test("probes of an HTTP app are counted apart", async () => {
    const { scrape } = await start("", ["--enable-app-health-check", "--app-health-check-path", "/items/1"]);
    const counts = await eventually(async () => {
      const found = countsOf(await scrape(), "http_healthprobes_completed_count");
      if (found.length === 0) throw new Error("no probe yet");
      return found;
    });
    expect(counts).toEqual([
      expect.stringMatching(/^dapr_http_healthprobes_completed_count\{app_id="shop",status="200"\} \d+$/),
    ]);
  });
});
