import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { errorBody, exchanges } from "./exchanges.ts";
import { testConfiguration, testSettings } from "./parts.ts";
import { startServer, type TestServer } from "./server.ts";

let server: TestServer;
const { method } = Dapr;
const noBody = { status: 204, reply: "" };

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

describe("metadata", () => {
  test("lists what is loaded, in Dapr's JSON", async () => {
    const resource = { kind: "HTTPEndpoint", name: "outside" } as never;
    const rich = await startServer({
      settings: testSettings({
        appPort: 8080,
        appMaxConcurrency: 5,
        appHealth: { path: "/health", probeIntervalMs: 5000, probeTimeoutMs: 500, threshold: 3 },
      }),
      configuration: testConfiguration({ features: { HotReload: true, ActorStateTTL: false } }),
      resources: [resource, { kind: "Resiliency", name: "retries" } as never],
    });
    try {
      const answer = await rich.http("GET /v1.0/metadata");
      expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/json"]);
      expect(JSON.parse(answer.body)).toEqual({
        id: "shop",
        runtimeVersion: "1.18.0-test",
        enabledFeatures: ["HotReload"],
        components: [
          {
            name: "store",
            type: "state.test",
            version: "v1",
            capabilities: ["ETAG", "TRANSACTIONAL", "ACTOR"],
          },
          { name: "pubsub", type: "pubsub.test", version: "v1", capabilities: [] },
        ],
        extended: { daprRuntimeVersion: "1.18.0-test" },
        httpEndpoints: [{ name: "outside" }],
        resiliencies: [{ name: "retries" }],
        appConnectionProperties: {
          port: 8080,
          protocol: "http",
          channelAddress: "127.0.0.1",
          maxConcurrency: 5,
          health: {
            healthCheckPath: "/health",
            healthProbeInterval: "5s",
            healthProbeTimeout: "500ms",
            healthThreshold: 3,
          },
        },
        actorRuntime: { runtimeStatus: "DISABLED", hostReady: false, placement: "placement: disconnected" },
      });
      const reply = await rich.call(method.getMetadata, {});
      expect(reply.id).toBe("shop");
      expect(reply.$unknown?.map(({ no, data }) => [no, Buffer.from(data).toString()])).toEqual([
        [15, "\t\n\u0007retries"],
      ]);
    } finally {
      await rich.close();
    }
  });

  test("keeps values, over both protocols", async () => {
    expect((await server.http("PUT /v1.0/metadata/my%20key", { body: "a value" })).status).toBe(204);
    await server.call(method.setMetadata, { key: "other", value: "2" });
    const extended = (await server.call(method.getMetadata, {})).extendedMetadata;
    expect(extended).toMatchObject({ "my key": "a value", other: "2", daprRuntimeVersion: "1.18.0-test" });
  });
});

describe("health and shutdown", () => {
  test("follows the targets", async () => {
    const { health } = server.app;
    expect((await server.http("GET /v1.0/healthz")).status).toBe(204);
    health.set("runtime", false);
    health.set("grpc-api-server", false);
    const answer = await server.http("GET /v1.0/healthz");
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      500,
      errorBody("ERR_HEALTH_NOT_READY", "dapr is not ready: [runtime grpc-api-server]"),
    ]);
    expect((await server.http("GET /v1.0/healthz/outbound")).status).toBe(204);
    health.set("runtime", true);
    health.set("grpc-api-server", true);
    health.setOutboundReady(false);
    const outbound = await server.http("GET /v1.0/healthz/outbound");
    expect([outbound.status, JSON.parse(outbound.body)]).toEqual([
      500,
      errorBody("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready"),
    ]);
    health.setOutboundReady(true);
  });

  exchanges(
    () => server,
    [
      { title: "own app id", line: "GET /v1.0/healthz?appid=shop", ...noBody },
      {
        title: "other app id",
        line: "GET /v1.0/healthz?appid=other",
        status: 500,
        reply: errorBody("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match"),
      },
      { title: "other verbs", line: "POST /v1.0/healthz", status: 404, reply: /ERR_DIRECT_INVOKE/ },
    ],
  );

  test("shuts down, by force when asked", async () => {
    expect((await server.http("POST /v1.0/shutdown")).status).toBe(204);
    await server.http("POST /v1.0/shutdown", { headers: { "dapr-force-shutdown": "True" } });
    await server.call(method.shutdown, {}, { metadata: [["dapr-force-shutdown", "true"]] });
    expect(server.app.shutdowns).toEqual([{ force: false }, { force: true }, { force: true }]);
  });
});
