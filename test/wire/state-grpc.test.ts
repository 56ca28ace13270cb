import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Code } from "../../src/errors.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { detailsOf } from "./details.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

const { method } = Dapr;
const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (data: Uint8Array) => Buffer.from(data).toString();
const wrongEtag = { value: "00000000-0000-0000-0000-000000000000" };

function save(key: string, value: string, more: object = {}) {
  return server.call(method.saveState, {
    storeName: "store",
    states: [{ key, value: bytes(value), ...more }],
  });
}
function get(key: string) {
  return server.call(method.getState, { storeName: "store", key });
}

describe("state over gRPC", () => {
  test("keeps bytes as they are, with an etag", async () => {
    await save("a", "\u0000raw");
    const got = await get("a");
    expect(textOf(got.data)).toBe("\u0000raw");
    expect(got.etag).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("answers empty data for an absent key", async () => {
    const got = await get("none");
    expect(got.data.length).toBe(0);
    expect(got.etag).toBe("");
  });

  test("reads what HTTP wrote, under the same key", async () => {
    await server.http("POST /v1.0/state/store", { body: '[{"key":"h","value":"text"}]' });
    expect(textOf((await get("h")).data)).toBe('"text"');
  });

  test("tells the end of a TTL", async () => {
    await save("t", "1", { metadata: { ttlInSeconds: "100" } });
    const { metadata } = await get("t");
    const leftMs = Date.parse(metadata.ttlExpireTime ?? "") - Date.now();
    expect(leftMs).toBeGreaterThan(90_000);
    expect(leftMs).toBeLessThanOrEqual(100_000);
  });

  test("takes an empty etag for none, and a wrong one for a mismatch: ABORTED", async () => {
    await save("e", "1");
    await save("e", "2", { etag: { value: "" } });
    const failure = await failureOf(save("e", "3", { etag: wrongEtag }));
    expect(failure.code).toBe(Code.Aborted);
    expect(failure.message).toStartWith("failed saving state in state store store: possible etag mismatch");
    expect(detailsOf(failure)).toEqual([
      {
        type: "ErrorInfo",
        fields: [
          [1, "ERR_STATE_SAVE"],
          [2, "dapr.io"],
        ],
      },
    ]);
  });

  test("first-write creates only", async () => {
    await save("f", "1", { options: { concurrency: 1 } });
    expect((await failureOf(save("f", "2", { options: { concurrency: 1 } }))).code).toBe(Code.Aborted);
    await save("f", "3", { options: { concurrency: 2 } });
    expect(textOf((await get("f")).data)).toBe("3");
  });

  test("deletes one and many", async () => {
    for (const key of ["d1", "d2", "d3"]) await save(key, "1");
    await server.call(method.deleteState, { storeName: "store", key: "d1" });
    await server.call(method.deleteBulkState, { storeName: "store", states: [{ key: "d2" }, { key: "d3" }] });
    for (const key of ["d1", "d2", "d3"]) expect((await get(key)).data.length).toBe(0);
  });

  test("maps etag errors of deletes", async () => {
    await save("d", "1");
    const one = server.call(method.deleteState, { storeName: "store", key: "d", etag: wrongEtag });
    expect((await failureOf(one)).code).toBe(Code.Aborted);
    const many = server.call(method.deleteBulkState, {
      storeName: "store",
      states: [{ key: "d", etag: wrongEtag }],
    });
    const failure = await failureOf(many);
    expect(failure.code).toBe(Code.Aborted);
    expect(failure.message).toStartWith("failed deleting state in state store store: ");
  });

  test("reads many", async () => {
    await save("m1", "1");
    const { items } = await server.call(method.getBulkState, {
      storeName: "store",
      keys: ["m1", "none"],
      parallelism: 5,
    });
    const byKey = Object.fromEntries(items.map((item) => [item.key, textOf(item.data)]));
    expect(byKey).toEqual({ m1: "1", none: "" });
  });

  test("changes several keys or none", async () => {
    const upsert = { operationType: "upsert", request: { key: "x", value: bytes("1") } };
    const remove = { operationType: "delete", request: { key: "m1", etag: wrongEtag } };
    const failing = server.call(method.executeStateTransaction, {
      storeName: "store",
      operations: [upsert, remove],
    });
    expect((await failureOf(failing)).code).toBe(Code.Internal);
    expect((await get("x")).data.length).toBe(0);
    await server.call(method.executeStateTransaction, { storeName: "store", operations: [upsert] });
    expect(textOf((await get("x")).data)).toBe("1");
  });

  test("merges the transaction's metadata under that of each operation", async () => {
    await server.call(method.executeStateTransaction, {
      storeName: "store",
      metadata: { ttlInSeconds: "100" },
      operations: [
        { operationType: "upsert", request: { key: "tt", value: bytes("1") } },
        {
          operationType: "upsert",
          request: { key: "tn", value: bytes("1"), metadata: { ttlInSeconds: "-1" } },
        },
      ],
    });
    expect((await get("tt")).metadata.ttlExpireTime).toBeDefined();
    expect((await get("tn")).metadata.ttlExpireTime).toBeUndefined();
  });

  test("refuses unknown operations", async () => {
    const operations = [{ operationType: "merge", request: { key: "x" } }];
    const failure = await failureOf(
      server.call(method.executeStateTransaction, { storeName: "store", operations }),
    );
    expect([failure.code, failure.message]).toEqual([
      Code.Unimplemented,
      "operation type merge not supported",
    ]);
  });

  test("queries", async () => {
    await save("q", '{"city":"Ulm"}');
    const query = '{"filter":{"EQ":{"city":"Ulm"}}}';
    const { results } = await server.call(method.queryStateAlpha1, { storeName: "store", query });
    expect(results.map(({ key }) => key)).toEqual(["q"]);
  });

  test("names a missing store in its details", async () => {
    const failure = await failureOf(server.call(method.getState, { storeName: "nope", key: "a" }));
    expect([failure.code, failure.message]).toEqual([Code.InvalidArgument, "state store nope is not found"]);
    expect(detailsOf(failure)).toEqual([
      {
        type: "ErrorInfo",
        fields: [
          [1, "DAPR_STATE_NOT_FOUND"],
          [2, "dapr.io"],
          [
            3,
            [
              [1, "appID"],
              [2, "shop"],
            ],
          ],
        ],
      },
    ]);
  });

  test("describes an illegal key", async () => {
    const failure = await failureOf(get("a||b"));
    const description = "input key/keyPrefix 'a||b' can't contain '||'";
    expect([failure.code, failure.message]).toEqual([Code.InvalidArgument, description]);
    expect(detailsOf(failure)).toEqual([
      {
        type: "ErrorInfo",
        fields: [
          [1, "DAPR_STATE_ILLEGAL_KEY"],
          [2, "dapr.io"],
        ],
      },
      {
        type: "ResourceInfo",
        fields: [
          [1, "state"],
          [2, "store"],
        ],
      },
      {
        type: "BadRequest",
        fields: [
          [
            1,
            [
              [1, "a||b"],
              [2, description],
            ],
          ],
        ],
      },
    ]);
  });
});
