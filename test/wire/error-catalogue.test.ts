import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { Code } from "../../src/errors.ts";
import type { GrpcError } from "../../src/net/grpc/types.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { detailsOf } from "./details.ts";
import { testSettings } from "./parts.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

// Errors of Dapr's catalogue that no story of the other files comes to: code, reason and both statuses.

let server: TestServer;
let bare: TestServer;
let limited: TestServer;

beforeAll(async () => {
  server = await startServer();
  bare = await startServer();
  limited = await startServer({ settings: testSettings({ maxBodyBytes: 10 }) });
  for (const { name } of bare.app.components.list("pubsub")) bare.app.components.remove("pubsub", name);
  const away = () => Promise.reject(new Error("away"));
  const broker: PubSub = { features: new Set(), publish: away, subscribe: away, close: async () => {} };
  server.app.components.put("pubsub", "broken", broker);
  const store = {
    features: new Set(["QUERY_API"]),
    query: away,
    bulkDelete: away,
    delete: away,
    close: async () => {},
  };
  server.app.components.put("state", "broken", store as unknown as StateStore);
});
afterAll(() => Promise.all([server.close(), bare.close(), limited.close()]));

async function httpError(from: TestServer, line: string, body: string, type = "application/json") {
  const answer = await from.http(line, { body, headers: { "content-type": type } });
  const { errorCode, details } = JSON.parse(answer.body);
  return { status: answer.status, errorCode, reason: details?.[0]?.reason };
}

function grpcError(failure: GrpcError) {
  return { code: failure.code, reason: detailsOf(failure)[0]?.fields[0]?.[1] };
}

describe("the catalogue over HTTP", () => {
  test.each([
    ["POST /v1.0/publish/broken/t", "1", 500, "ERR_PUBSUB_PUBLISH_MESSAGE", "DAPR_PUBSUB_PUBLISH_MESSAGE"],
    [
      "POST /v1.0/publish/pubsub/t?metadata.rawPayload=perhaps",
      "1",
      400,
      "ERR_PUBSUB_REQUEST_METADATA",
      "DAPR_PUBSUB_METADATA_DESERIALIZATION",
    ],
    ["POST /v1.0/publish/bulk/pubsub/t", "{", 400, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_UNMARSHAL_EVENTS"],
    ["POST /v1.0-alpha1/state/broken/query", "{}", 500, "ERR_STATE_QUERY", "DAPR_STATE_QUERY_FAILED"],
  ])("%s %s", async (line, body, status, errorCode, reason) => {
    expect(await httpError(server, line, body)).toEqual({ status, errorCode, reason });
  });

  test("a CloudEvent that is none", async () => {
    const line = "POST /v1.0/publish/pubsub/t";
    expect(await httpError(server, line, "x", "application/cloudevents+json")).toEqual({
      status: 500,
      errorCode: "ERR_PUBSUB_CLOUD_EVENTS_SER",
      reason: "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
    });
  });

  test("nothing configured", async () => {
    expect(await httpError(bare, "POST /v1.0/publish/pubsub/t", "1")).toEqual({
      status: 400,
      errorCode: "ERR_PUBSUB_NOT_CONFIGURED",
      reason: "DAPR_PUBSUB_NOT_CONFIGURED",
    });
    const secrets = await bare.http("GET /v1.0/secrets/s/k");
    expect(secrets.status).toBe(500);
    expect(JSON.parse(secrets.body).errorCode).toBe("ERR_SECRET_STORES_NOT_CONFIGURED");
  });

  test("a body over the limit that is taken as it is", async () => {
    const answer = await httpError(limited, "PUT /v1.0/metadata/a", "x".repeat(20), "text/plain");
    expect(answer).toMatchObject({ status: 400, errorCode: "ERR_BODY_READ" });
  });
});

describe("the catalogue over gRPC", () => {
  const { method } = Dapr;

  test("publish", async () => {
    const failed = await failureOf(server.call(method.publishEvent, { pubsubName: "broken", topic: "t" }));
    expect(grpcError(failed)).toEqual({ code: Code.Internal, reason: "DAPR_PUBSUB_PUBLISH_MESSAGE" });
    const none = await failureOf(bare.call(method.publishEvent, { pubsubName: "pubsub", topic: "t" }));
    expect(grpcError(none)).toEqual({ code: Code.FailedPrecondition, reason: "DAPR_PUBSUB_NOT_CONFIGURED" });
    const metadata = { rawPayload: "perhaps" };
    const odd = { pubsubName: "pubsub", topic: "t", metadata };
    expect(grpcError(await failureOf(server.call(method.publishEvent, odd)))).toEqual({
      code: Code.InvalidArgument,
      reason: "DAPR_PUBSUB_METADATA_DESERIALIZATION",
    });
  });

  test("state", async () => {
    const query = await failureOf(server.call(method.queryStateAlpha1, { storeName: "broken", query: "{}" }));
    expect(grpcError(query)).toEqual({ code: Code.Internal, reason: "DAPR_STATE_QUERY_FAILED" });
    const states = [{ key: "a" }, { key: "b" }];
    const bulk = await failureOf(server.call(method.deleteBulkState, { storeName: "broken", states }));
    expect(bulk.code).toBe(Code.Internal);
    expect(bulk.message).toContain("failed deleting state in state store broken: away");
  });
});
