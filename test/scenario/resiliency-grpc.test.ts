import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, startSidecar } from "../mecha-process.ts";

const resources = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: policies }
spec:
  policies:
    timeouts: { short: 1s }
    retries:
      quick: { policy: constant, duration: 10ms, maxRetries: 2, matching: { gRPCStatusCodes: "14" } }
  targets:
    apps:
      callee: { retry: quick }
      slow: { timeout: short }
      broken: { circuitBreaker: simple }
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: more }
scopes: [caller]
spec:
  policies:
    circuitBreakers: { simple: { timeout: 60s } }
`;

const raw = (bytes: Buffer): Buffer => bytes;
const method = (path: string, requestStream = false, responseStream = false) => ({
  ...{ path, requestStream, responseStream },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
});
const service = {
  unary: method("/test.v1.Echo/Unary"),
  down: method("/test.v1.Echo/Down", false, true),
  both: method("/test.v1.Echo/Both", true, true),
};

let answers: ((call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => void)[] = [];
let calls = 0;
let appPort: number;
let mecha: TestMecha;
let client: grpc.Client;
const server = new grpc.Server();
const cleanup = new Cleanup();

beforeAll(async () => {
  server.addService(service, {
    unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => {
      calls++;
      const answer = answers.shift();
      if (answer === undefined) reply(null, call.request);
      else answer(call, reply);
    },
    both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      calls++;
      call.sendMetadata(new grpc.Metadata());
      let count = 0;
      call.on("data", () => {
        if (++count === 2) call.emit("error", { code: grpc.status.UNAVAILABLE, details: "two" });
      });
    },
    down: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
      calls++;
      call.write(Buffer.from("one"));
      setTimeout(() => {
        call.write(Buffer.from("two"));
        call.end();
      }, 1500);
    },
  });
  appPort = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const callee = (appId: string) => ({ appId, app: appPort, options: { appProtocol: "grpc" as const } });
  mecha = await startMecha({
    apps: [{ appId: "caller" }, callee("callee"), callee("slow"), callee("broken")],
    resources,
  });
  client = new grpc.Client(`127.0.0.1:${mecha.ports("caller").grpc}`, grpc.credentials.createInsecure());
});

afterAll(async () => {
  await cleanup.run();
  client.close();
  server.forceShutdown();
  await mecha.stop();
});

function metadataOf(appId: string, more: Record<string, string> = {}): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries({ "dapr-app-id": appId, ...more })) metadata.set(name, value);
  return metadata;
}

/** What was answered, or the code and text of the failure. */
function call(appId: string, body = "hello", from = client): Promise<string> {
  calls = 0;
  return new Promise((resolve) =>
    from.makeUnaryRequest(
      ...([service.unary.path, raw, raw, Buffer.from(body), metadataOf(appId)] as const),
      (error: grpc.ServiceError | null, answer?: Buffer) =>
        resolve(error === null ? String(answer) : `${error.code} ${error.details}`),
    ),
  );
}

const failing =
  (code: grpc.status): (typeof answers)[number] =>
  (_call, reply) =>
    reply({ code, details: "no" });
/** Headers first, then the failure: it may still be tried again. */
const failingLate: (typeof answers)[number] = (call, reply) => {
  call.sendMetadata(new grpc.Metadata());
  setImmediate(() => reply({ code: grpc.status.UNAVAILABLE, details: "late" }));
};

test("a proxied call is tried again when its status matches", async () => {
  answers = [failing(grpc.status.UNAVAILABLE), failingLate];
  expect(await call("callee")).toBe("hello");
  expect(calls).toBe(3);
  answers = [failing(grpc.status.NOT_FOUND)];
  expect(await call("callee")).toBe("5 no");
  expect(calls).toBe(1);
  answers = [1, 2, 3, 4].map(() => failing(grpc.status.UNAVAILABLE));
  expect(await call("callee")).toBe("14 no");
  expect(calls).toBe(3);
});

test("a request that is too large to be kept is sent once", async () => {
  answers = [failing(grpc.status.UNAVAILABLE)];
  expect(await call("callee", "x".repeat(200_000))).toBe("14 no");
  expect(calls).toBe(1);
  answers = [];
  expect(await call("callee", "y".repeat(200_000))).toHaveLength(200_000);
});

test("a stream gets its head before it has sent all, and its failure as it is", async () => {
  calls = 0;
  const { path } = service.both;
  const stream = client.makeBidiStreamRequest(path, raw, raw, metadataOf("callee"));
  const failed = new Promise<grpc.ServiceError>((resolve) => stream.on("error", resolve));
  stream.write(Buffer.from("one"));
  await new Promise((resolve) => stream.on("metadata", resolve));
  stream.write(Buffer.from("two"));
  expect((await failed).details).toBe("two");
  expect(calls).toBe(1);
});

test("a proxied call ends with its timeout, a stream that says so does not", async () => {
  answers = [() => {}];
  expect(await call("slow")).toBe("4 context deadline exceeded");
  answers = [];
  expect(await call("slow")).toBe("hello");
  const stream = (more: Record<string, string>) =>
    new Promise<string>((resolve) => {
      const got: string[] = [];
      client
        .makeServerStreamRequest(service.down.path, raw, raw, Buffer.from(""), metadataOf("slow", more))
        .on("data", (bytes: Buffer) => got.push(String(bytes)))
        .on("error", (error: grpc.ServiceError) => resolve(`${got} ${error.code}`))
        .on("end", () => resolve(got.join()));
    });
  expect(await stream({})).toBe("one 4");
  expect(await stream({ "dapr-stream": "true" })).toBe("one,two");
});

test("a breaker opens for a method of an app", async () => {
  answers = Array.from({ length: 6 }, () => failing(grpc.status.INTERNAL));
  for (let i = 0; i < 6; i++) expect(await call("broken")).toBe("13 no");
  expect(await call("broken")).toBe("14 circuit breaker is open");
  expect(calls).toBe(0);
});

test("the policies of a caller hold for an app of another process", async () => {
  const folder = cleanup.folder();
  const file = join(folder, "resiliency.yaml");
  writeFileSync(file, resources);
  const data = cleanup.folder();
  const start = async (appId: string, ...words: string[]) => {
    const { process, grpcPort } = await startSidecar({ appId, resources: folder, data, words });
    const started = cleanup.process(process);
    const remote = new grpc.Client(`127.0.0.1:${grpcPort}`, grpc.credentials.createInsecure());
    cleanup.add(() => remote.close());
    await new Promise<void>((resolve, reject) =>
      remote.waitForReady(Date.now() + 20_000, (error) => (error ? reject(error) : resolve())),
    );
    return { started, remote };
  };
  const app = ["--app-port", `${appPort}`, "--app-protocol", "grpc"];
  await start("callee", ...app);
  await start("slow", ...app);
  const { remote } = await start("caller");
  answers = [];
  await eventually(async () => expect(await call("callee", "up", remote)).toBe("up"));
  await eventually(async () => expect(await call("slow", "up", remote)).toBe("up"));
  answers = [failing(grpc.status.UNAVAILABLE), failingLate];
  expect(await call("callee", "hello", remote)).toBe("hello");
  expect(calls).toBe(3);
  answers = [() => {}];
  expect(await call("slow", "hello", remote)).toBe("4 context deadline exceeded");
}, 30_000);
