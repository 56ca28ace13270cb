import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { posix } from "node:path";
import { Code } from "../../src/errors.ts";
import type { ApiRule } from "../../src/resource/resource.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { testConfiguration, testSettings } from "./parts.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

const servers: TestServer[] = [];
const { method } = Dapr;

async function start(...options: Parameters<typeof startServer>): Promise<TestServer> {
  const server = await startServer(...options);
  servers.push(server);
  return server;
}
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

/** Requests that look like probes to somebody who looks at the text alone (CVE-2023-37918). */
function probeVariants(paths: readonly string[]): string[] {
  const ends =
    "/ ? ?x=1 /?x=1 ; ;x=1 %2f %2F %00 %20 . .. /. /.. /./ /../ // /x /..%2f /%2e%2e /%2e /%2e%2e/metadata /../metadata " +
    "%23 %3f %3fx=1 a A 0 \\ %5c / /;/ ..;/metadata /..;/metadata , @x :80 ~ * $";
  const starts =
    "/ // /. /./ /.. /../ /x/.. /x/../ /%2e /%2e%2e /%2f /v1.0 /v1.0/metadata/.. /v1.0/metadata/../.. ; /;";
  const others =
    "/v1.0/metadata /v1.0/state/store/a /v1.0/secrets/secrets/bulk /v1.0/shutdown /anything /v1.0-alpha1/healthz";
  const targets = new Set<string>();
  for (const path of paths) {
    for (const end of ["", ...ends.split(" ")]) {
      targets.add(path + end);
      targets.add(`${path}${end}/../metadata`);
    }
    for (const start of starts.split(" ")) targets.add(start + path);
    const [version = "", ...names] = path.slice(1).split("/");
    targets
      .add(`/${version}/${names.join("/").toUpperCase()}`)
      .add(`/${version.toUpperCase()}/${names.join("/")}`);
    targets.add(`/${version}//${names.join("//")}`).add(`/${version}/%68ealthz${path.slice(13)}`);
    for (const other of others.split(" ")) {
      for (const joint of ["?", "?path=", "?x#", "%3f", ";", "/..", "//", "/%2e%2e", "#"])
        targets.add(other + joint + path);
    }
  }
  const gets = [...targets].map((target) => `GET ${target}`);
  const verbs = "HEAD POST PUT DELETE PATCH OPTIONS TRACE get Get CONNECT PROPFIND".split(" ");
  return [...gets, ...verbs.flatMap((verb) => paths.map((path) => `${verb} ${path}`))];
}

/** Of a request sent as it is written, bytes for bytes. */
function statusOf(port: number, line: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(`${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    });
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.on("close", () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)));
    socket.on("error", reject);
  });
}

describe("API token", () => {
  const settings = testSettings({ apiTokens: ["s3cret"] });
  const right = { headers: { "dapr-api-token": "s3cret" } };

  test("refuses calls without it or with another", async () => {
    const server = await start({ settings });
    for (const headers of [
      { accept: "*/*" },
      { "dapr-api-token": "wrong" },
      { "dapr-api-token": "s3cret2" },
    ] as Record<string, string>[]) {
      const answer = await server.http("GET /v1.0/state/store/a", { headers });
      expect([answer.status, answer.body]).toEqual([401, "invalid api token\n"]);
      expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
    }
    expect((await server.http("GET /v1.0/state/store/a?dapr-api-token=s3cret")).status).toBe(401);
    expect((await server.http("GET /v1.0/state/store/a", right)).status).toBe(204);
  });

  test("guards unknown paths too", async () => {
    const server = await start({ settings });
    expect((await server.http("GET /anything")).status).toBe(401);
    expect((await server.http("GET /anything", right)).status).toBe(404);
  });

  test("leaves GET health probes alone, and nothing that only looks like one", async () => {
    const server = await start({ settings });
    for (const path of ["/v1.0/healthz", "/v1.0/healthz/", "/v1.0/healthz/outbound"]) {
      expect((await server.http(`GET ${path}`)).status).toBe(204);
    }
    expect((await server.http("POST /v1.0/healthz")).status).toBe(401);
    expect((await server.http("GET /v1.0/healthz/../metadata")).status).toBe(401);
  });

  test("is asked for whatever is written like a health probe without being one", async () => {
    const server = await start({ settings });
    const probes = ["/v1.0/healthz", "/v1.0/healthz/outbound"];
    const letIn: string[] = [];
    const variants = probeVariants(probes);
    expect(variants.length).toBeGreaterThan(300);
    for (const variant of variants) {
      const status = await statusOf(server.httpPort, variant);
      if (status >= 400) expect([variant, [400, 401, 405, 501].includes(status)]).toEqual([variant, true]);
      else letIn.push(variant);
    }
    // The path as it is dispatched: cleaned, not decoded, without its query.
    const isProbe = (line: string) => {
      const [verb, target = ""] = line.split(" ");
      const path = posix.normalize(target.split("?")[0] as string).replace(/(.)\/$/, "$1");
      return verb === "GET" && probes.includes(path);
    };
    expect(letIn).toEqual(variants.filter(isProbe));
  });

  test("guards gRPC, streams and proxying, with Dapr's texts", async () => {
    const server = await start({ settings });
    const missing = await failureOf(server.call(method.getMetadata, {}));
    expect([missing.code, missing.message]).toEqual([
      Code.Unauthenticated,
      "missing api token in request metadata",
    ]);
    const wrong = { metadata: [["dapr-api-token", "x"]] as [string, string][] };
    const mismatch = await failureOf(server.call(method.getMetadata, {}, wrong));
    expect([mismatch.code, mismatch.message]).toEqual([
      Code.Unauthenticated,
      "authentication error: api token mismatch",
    ]);
    const proxied = await failureOf(server.grpc.unary("/shop.Cart/Get", new Uint8Array(0)));
    expect(proxied.code).toBe(Code.Unauthenticated);
    const stream = server.grpc.stream("/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1");
    expect((await failureOf(stream.responses[Symbol.asyncIterator]().next())).code).toBe(
      Code.Unauthenticated,
    );
    const right = { metadata: [["dapr-api-token", "s3cret"]] as [string, string][] };
    expect((await server.call(method.getMetadata, {}, right)).id).toBe("shop");
  });
});

describe("API lists", () => {
  const rule = (name: string, protocol: ApiRule["protocol"], version = "v1.0"): ApiRule => ({
    name,
    protocol,
    version,
  });

  test("a denied HTTP API is as if it were not there", async () => {
    const api = { allowed: [], denied: [rule("state", "http")] };
    const server = await start({ configuration: testConfiguration({ api }) });
    const denied = await server.http("GET /v1.0/state/store/a");
    expect([denied.status, JSON.parse(denied.body).errorCode]).toEqual([404, "ERR_DIRECT_INVOKE"]);
    expect((await server.http("POST /v1.0-alpha1/state/store/query", { body: "{}" })).status).toBe(204);
    expect((await server.call(method.getState, { storeName: "store", key: "a" })).etag).toBe("");
  });

  test("only what is allowed is there, and health always", async () => {
    const api = { allowed: [rule("state", "http")], denied: [] };
    const server = await start({ configuration: testConfiguration({ api }) });
    expect((await server.http("GET /v1.0/state/store/a")).status).toBe(204);
    expect((await server.http("GET /v1.0/healthz")).status).toBe(204);
    const gone = await server.http("GET /v1.0/metadata");
    expect([gone.status, gone.body]).toEqual([404, "404 page not found\n"]);
  });

  test("a denied gRPC method is unimplemented", async () => {
    const api = { allowed: [], denied: [rule("state", "grpc"), rule("publish", "grpc", "v1.0-alpha1")] };
    const server = await start({ configuration: testConfiguration({ api }) });
    const denied = await failureOf(server.call(method.getState, { storeName: "store", key: "a" }));
    expect([denied.code, denied.message]).toEqual([
      Code.Unimplemented,
      "requested endpoint is not available",
    ]);
    const request = { pubsubName: "pubsub", topic: "t", entries: [] };
    expect((await failureOf(server.call(method.bulkPublishEventAlpha1, request))).code).toBe(
      Code.Unimplemented,
    );
    expect((await server.call(method.bulkPublishEvent, request)).failedEntries).toEqual([]);
    expect((await server.http("GET /v1.0/state/store/a")).status).toBe(204);
  });

  test("a reload of the Configuration takes effect at once", async () => {
    const server = await start();
    expect((await server.http("GET /v1.0/state/store/a")).status).toBe(204);
    const api = { allowed: [], denied: [rule("state", "http"), rule("state", "grpc")] };
    server.app.configuration = testConfiguration({ api });
    expect((await server.http("GET /v1.0/state/store/a")).status).toBe(404);
    expect((await failureOf(server.call(method.getState, { storeName: "store", key: "a" }))).code).toBe(
      Code.Unimplemented,
    );
  });
});

describe("CORS", () => {
  const origin = "https://shop.example";

  test("is silent without allowed origins", async () => {
    const server = await start();
    const answer = await server.http("GET /v1.0/healthz", { headers: { origin } });
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("answers preflights before the token is asked for, and marks replies", async () => {
    const server = await start({ settings: testSettings({ allowedOrigins: origin, apiTokens: ["t"] }) });
    const preflight = await server.http("OPTIONS /v1.0/state/store", {
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "dapr-api-token",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "dapr-api-token",
    });
    const answer = await server.http("GET /v1.0/state/store/a", { headers: { origin } });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([401, origin]);
    const other = await server.http("GET /v1.0/healthz", { headers: { origin: "https://evil.example" } });
    expect([other.status, other.headers["access-control-allow-origin"]]).toEqual([204, undefined]);
  });
});

describe("API log", () => {
  const apiLogging = { enabled: true, obfuscateURLs: false, omitHealthChecks: true };

  test("has a line per call with Dapr's fields", async () => {
    const server = await start({ configuration: testConfiguration({ apiLogging }) });
    await server.http("GET /v1.0/state/store/secret-key?x=1", { headers: { "user-agent": "curl" } });
    await server.http("GET /v1.0/healthz");
    await server.call(method.getMetadata, {});
    const lines = server.app.telemetry.lines.filter(({ level }) => level === "info");
    expect(lines.map(({ message }) => message)).toEqual(["HTTP API Called", "gRPC API Called"]);
    expect(lines[0]?.fields).toMatchObject({
      method: "GET /v1.0/state/store/secret-key",
      code: 204,
      useragent: "curl",
      size: 0,
    });
    expect(lines[0]?.fields.duration).toBeNumber();
    expect(lines[1]?.fields).toMatchObject({ method: "/dapr.proto.runtime.v1.Dapr/GetMetadata", code: 0 });
  });

  test("names the operation instead of the path when asked", async () => {
    const obfuscated = { ...apiLogging, obfuscateURLs: true, omitHealthChecks: false };
    const server = await start({ configuration: testConfiguration({ apiLogging: obfuscated }) });
    await server.http("GET /v1.0/state/store/secret-key");
    await server.http("GET /v1.0/healthz");
    const lines = server.app.telemetry.lines.filter(({ level }) => level === "info");
    expect(lines.map(({ fields }) => fields.method)).toEqual(["GetState", "Healthz"]);
  });
});

describe("metrics", () => {
  test("count and time calls under Dapr's names", async () => {
    const server = await start();
    await server.http("GET /v1.0/state/store/a");
    await server.http("GET /v1.0/state/store/b");
    await server.http("GET /v1.0/state/nope/b");
    await server.call(method.getState, { storeName: "store", key: "a" });
    await failureOf(server.call(method.getState, { storeName: "nope", key: "a" }));
    const text = server.app.telemetry.metrics.text();
    const http = (path: string, status: string) =>
      `{app_id="shop",method="GET",path="${path}",status="${status}"}`;
    expect(text).toContain(`dapr_http_server_request_count${http("/v1.0/state/store", "204")} 2\n`);
    expect(text).toContain(`dapr_http_server_request_count${http("/v1.0/state/nope", "400")} 1\n`);
    expect(text).toContain(`dapr_http_server_latency_count${http("/v1.0/state/store", "204")} 2\n`);
    const rpc = (status: string) =>
      `{app_id="shop",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState",grpc_server_status="${status}"}`;
    expect(text).toContain(`dapr_grpc_io_server_completed_rpcs${rpc("OK")} 1\n`);
    expect(text).toContain(`dapr_grpc_io_server_completed_rpcs${rpc("InvalidArgument")} 1\n`);
    const component = '{app_id="shop",component="store",namespace="default",operation="get",success="true"}';
    expect(text).toContain(`dapr_component_state_count${component} 3\n`);
    const code = '{app_id="shop",category="state",error_code="ERR_STATE_STORE_NOT_FOUND"}';
    expect(text).toContain(`dapr_error_code_total${code} 2\n`);
  });

  test("leave paths out at low cardinality, but for those asked for", async () => {
    const configuration = testConfiguration();
    configuration.metrics.http = {
      increasedCardinality: false,
      pathMatching: ["/v1.0/metadata"],
      excludeVerbs: true,
    };
    const server = await start({ configuration });
    await server.http("GET /v1.0/state/store/a");
    await server.http("GET /v1.0/metadata");
    const text = server.app.telemetry.metrics.text();
    expect(text).toContain(
      'dapr_http_server_request_count{app_id="shop",method="",path="",status="204"} 1\n',
    );
    expect(text).toContain('{app_id="shop",method="",path="/v1.0/metadata",status="200"} 1\n');
  });

  test("cost nothing when they are off", async () => {
    const configuration = testConfiguration();
    configuration.metrics.enabled = false;
    const server = await start({ configuration });
    await server.http("GET /v1.0/state/nope/a");
    await server.http("GET /v1.0/state/store/a");
    expect(server.app.telemetry.metrics.text().trim()).toBe("");
  });
});

describe("requests", () => {
  test("of unknown services end in the proxy, of unknown methods unimplemented", async () => {
    const server = await start();
    const none = await failureOf(
      server.grpc.unary("/dapr.proto.runtime.v1.Dapr/SubscribeNothing", new Uint8Array(0)),
    );
    expect(none.code).toBe(Code.Unimplemented);
    const hub = await failureOf(server.grpc.unary("/TaskHubSidecarService/Nothing", new Uint8Array(0)));
    expect(hub.code).toBe(Code.Unimplemented);
    const proxied = await failureOf(server.grpc.unary("/shop.Cart/Get", new Uint8Array(0)));
    expect(proxied.message).toBe("no invoker in this test");
  });

  test("that can not be decoded are refused", async () => {
    const server = await start();
    const failure = await failureOf(
      server.grpc.unary("/dapr.proto.runtime.v1.Dapr/GetState", Uint8Array.of(0xff)),
    );
    expect(failure.code).toBe(Code.Internal);
    expect(failure.message).toStartWith("grpc: error unmarshalling request:");
  });

  test("answer health checks over gRPC", async () => {
    const server = await start();
    const check = () => server.grpc.unary("/grpc.health.v1.Health/Check", new Uint8Array(0));
    expect([...(await check())]).toEqual([8, 1]);
    server.app.health.set("runtime", false);
    expect([...(await check())]).toEqual([8, 2]);
    const unknown = server.grpc.unary("/grpc.health.v1.Health/Check", Uint8Array.of(10, 1, 120));
    expect((await failureOf(unknown)).code).toBe(Code.NotFound);
  });
});

describe("reflection", () => {
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  async function listServices(server: TestServer): Promise<string> {
    const stream = server.grpc.stream(path, { timeoutMs: 10_000 });
    await stream.send(Uint8Array.of(0x3a, 0));
    const { value } = await stream.responses[Symbol.asyncIterator]().next();
    stream.cancel();
    return Buffer.from(value ?? []).toString();
  }

  test("names the service when it is on", async () => {
    const server = await start({ settings: testSettings({ grpcReflection: true }) });
    expect(await listServices(server)).toContain("dapr.proto.runtime.v1.Dapr");
  });

  test("is off by default", async () => {
    const server = await start();
    expect((await failureOf(listServices(server))).message).toBe("no invoker in this test");
  });
});

describe("limit", () => {
  test("holds the calls of both protocols together, but no probes", async () => {
    const server = await start({ settings: testSettings({ apiLimit: { callsMax: 1, queueMax: 0 } }) });
    const held = Promise.withResolvers<undefined>();
    const store = server.app.components.find("state", "store")?.instance;
    if (store === undefined) throw new Error("no store");
    server.app.components.put("state", "slow", { ...store, get: () => held.promise });
    const slow = server.http("GET /v1.0/state/slow/a");
    const refused = await server.http("GET /v1.0/state/store/a");
    expect([refused.status, JSON.parse(refused.body).errorCode]).toEqual([429, "ERR_CALLS_LIMIT"]);
    const failure = await failureOf(server.call(method.getMetadata, {}));
    expect(failure.code).toBe(Code.ResourceExhausted);
    expect((await server.http("GET /v1.0/healthz")).status).toBe(204);
    held.resolve(undefined);
    expect((await slow).status).toBe(204);
    expect((await server.http("GET /v1.0/state/store/a")).status).toBe(204);
  });
});

describe("unforeseen errors", () => {
  test("answer 500 ERROR, and are logged for people to see", async () => {
    const server = await start();
    const invoker = { ...server.app.invoker, invokeHttp: () => Promise.reject(new TypeError("oops")) };
    Object.assign(server.app, { invoker });
    const answer = await server.http("GET /v1.0/invoke/cart/method/x");
    expect([answer.status, JSON.parse(answer.body)]).toEqual([500, { errorCode: "ERROR", message: "oops" }]);
    expect(server.app.telemetry.lines.map(({ level }) => level)).toEqual(["error"]);
  });
});
