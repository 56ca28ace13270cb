import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import grpc from "@grpc/grpc-js";
import { encodeFrame } from "../../src/net/grpc/frame.ts";
import { startMecha } from "../../src/testing/index.ts";
import { Cleanup } from "../mecha-process.ts";

// What an authorization server sees of the messages of proxied gRPC calls: grpc-js calls grpc-js.

const raw = (bytes: Buffer): Buffer => bytes;
const kinds = { pay: [false, false], gather: [true, false], follow: [true, true] } as const;
type Kind = keyof typeof kinds;
const pathOf = (kind: Kind): string => `/shop.Orders/${kind}`;
const service = Object.fromEntries(
  Object.entries(kinds).map(([kind, [requestStream, responseStream]]) => [
    kind,
    {
      ...{ path: pathOf(kind as Kind), requestStream, responseStream },
      ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
    },
  ]),
);
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const cleanup = new Cleanup();
const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
let appPort: number;
let messages: number;

beforeAll(async () => {
  server.addService(service, {
    pay(call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      messages++;
      reply(null, Buffer.from(digest(call.request)));
    },
    gather(call: grpc.ServerReadableStream<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      const all: Buffer[] = [];
      call.on("data", (bytes: Buffer) => all.push(bytes));
      call.on("end", () => reply(null, Buffer.from(digest(Buffer.concat(all)))));
    },
    follow(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call.on("data", (bytes: Buffer) => {
        messages++;
        call.write(bytes);
      });
      call.on("end", () => call.end());
    },
  });
  appPort = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
});
afterEach(() => cleanup.run());
afterAll(() => server.forceShutdown());

interface Asked {
  body: Buffer;
  isPartial: string;
  contentType: string | undefined;
}

/** The app is called from beside it, from another process's runtime, and by itself. */
async function start(includeRequestBodyInCheck: object, route = "") {
  messages = 0;
  const asked: Asked[] = [];
  const authorizer = createServer(async (request, response) => {
    const body = Buffer.concat(await Array.fromAsync(request));
    const isPartial = request.headers["x-envoy-auth-partial-body"];
    asked.push({ body, isPartial: String(isPartial), contentType: request.headers["content-type"] });
    response.writeHead(body.includes("evil") ? 403 : 200).end();
  });
  cleanup.add(() => authorizer.close());
  await new Promise<void>((resolve) => authorizer.listen(0, "127.0.0.1", resolve));
  const http = {
    ...{
      uri: `http://127.0.0.1:${(authorizer.address() as AddressInfo).port}`,
      timeout: "5s",
      includeRequestBodyInCheck,
    },
    includeRequestHeadersInCheck: ["content-type"],
  };
  const policy = {
    apiVersion: "mecha.run/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { name: "gate" },
    spec: {
      targetRefs: [{ kind: "App", name: "orders" }],
      action: "CUSTOM",
      provider: { name: "gate", http },
      rules: [{}],
    },
  };
  const dataFolder = cleanup.folder();
  const orders = { appId: "orders", app: appPort, options: { appProtocol: "grpc" as const } };
  const resources = [JSON.stringify(policy), route].filter((text) => text !== "").join("\n---\n");
  const near = await startMecha({ dataFolder, resources, apps: [orders, { appId: "near" }] });
  cleanup.add(() => near.stop());
  const far = await startMecha({ dataFolder, resources: route, apps: [{ appId: "far" }] });
  cleanup.add(() => far.stop());
  const ports = [near.ports("near"), far.ports("far"), near.ports("orders")].map((port) => port.grpc);
  return { asked, ports, near };
}

function clientAt(port: number): grpc.Client {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  cleanup.add(() => client.close());
  return client;
}

function addressed(): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set("dapr-app-id", "orders");
  return metadata;
}

/** The message, or code and text of the failure. */
function pay(port: number, message: Buffer): Promise<string> {
  return new Promise((resolve) => {
    clientAt(port).makeUnaryRequest(pathOf("pay"), raw, raw, message, addressed(), (error, bytes) =>
      resolve(error === null ? String(bytes) : `${error.code} ${error.details}`),
    );
  });
}

function gather(port: number, pieces: readonly Buffer[]): Promise<string> {
  return new Promise((resolve) => {
    const call = clientAt(port).makeClientStreamRequest(
      pathOf("gather"),
      raw,
      raw,
      addressed(),
      (error, bytes) => resolve(error === null ? String(bytes) : `${error.code} ${error.details}`),
    );
    for (const piece of pieces) call.write(piece);
    call.end();
  });
}

function follow(port: number) {
  const call = clientAt(port).makeBidiStreamRequest(pathOf("follow"), raw, raw, addressed());
  const failure = new Promise<string>((resolve) =>
    call.on("error", (error: grpc.ServiceError) => resolve(`${error.code} ${error.details}`)),
  );
  const next = () => new Promise<string>((resolve) => call.once("data", (bytes) => resolve(String(bytes))));
  return { call, failure, next };
}

test("the server gets the frame of a unary call, and the app gets the message whole", async () => {
  const { asked, ports } = await start({ maxRequestBytes: 1000 });
  for (const port of ports) {
    const good = Buffer.from("a good deed");
    expect(await pay(port, good)).toBe(digest(good));
    expect(await pay(port, Buffer.from("an evil deed"))).toBe("7 RBAC: access denied");
    expect(await pay(port, Buffer.alloc(0))).toBe(digest(Buffer.alloc(0)));
  }
  const texts = ["a good deed", "an evil deed", ""];
  const frames = texts.map((text) => ({
    ...{ body: encodeFrame(Buffer.from(text)), isPartial: "false" },
    contentType: "application/grpc",
  }));
  expect(asked).toEqual([...frames, ...frames, ...frames]);
  expect(messages).toBe(2 * ports.length);
});

test("a call that is too long is refused and nobody is asked, or its start is checked", async () => {
  const long = Buffer.alloc(300_000, "long ");
  const strict = await start({ maxRequestBytes: 100_000 });
  for (const port of strict.ports) {
    expect(await pay(port, long)).toBe("8 the body is larger than may be checked");
    expect(await pay(port, long.subarray(0, 99_995))).toBe(digest(long.subarray(0, 99_995)));
  }
  expect(strict.asked.map(({ body }) => body.length)).toEqual(strict.ports.map(() => 100_000));
  const partly = await start({ maxRequestBytes: 100_000, allowPartialMessage: true });
  for (const port of partly.ports) expect(await pay(port, long)).toBe(digest(long));
  const beginning = encodeFrame(long).subarray(0, 100_000);
  expect(partly.asked.map(({ body, isPartial }) => [body.equals(beginning), isPartial])).toEqual(
    partly.ports.map(() => [true, "true"]),
  );
});

test("a stream that ends is checked whole; where a start will do, its first message is", async () => {
  const pieces = ["one", "two", "three"].map((text) => Buffer.from(text));
  const whole = await start({ maxRequestBytes: 1000 });
  for (const port of whole.ports) {
    expect(await gather(port, pieces)).toBe(digest(Buffer.concat(pieces)));
    expect(await gather(port, [...pieces, Buffer.from("evil")])).toBe("7 RBAC: access denied");
  }
  expect(whole.asked[0]?.body).toEqual(Buffer.concat(pieces.map((piece) => encodeFrame(piece))));
  const partly = await start({ maxRequestBytes: 1000, allowPartialMessage: true });
  for (const port of partly.ports) {
    expect(await gather(port, pieces)).toBe(digest(Buffer.concat(pieces)));
    expect(await gather(port, [Buffer.from("evil"), ...pieces])).toBe("7 RBAC: access denied");
  }
  const [first] = partly.asked;
  expect([first?.body, first?.isPartial]).toEqual([encodeFrame(Buffer.from("one")), "true"]);
});

test("a stream that waits for answers goes on once its first message is checked", async () => {
  const { asked, ports } = await start({ maxRequestBytes: 1000, allowPartialMessage: true });
  for (const port of ports) {
    const { call, next } = follow(port);
    for (const text of ["one", "two", "evil"]) {
      const answer = next();
      call.write(Buffer.from(text));
      expect(await answer).toBe(text);
    }
    call.end();
    const bad = follow(port);
    bad.call.write(Buffer.from("evil"));
    expect(await bad.failure).toBe("7 RBAC: access denied");
  }
  expect(asked.map(({ body }) => body.subarray(5).toString())).toEqual(ports.flatMap(() => ["one", "evil"]));
});

test("a stream that goes on is refused with the reason where only the whole will do", async () => {
  const { asked, ports } = await start({ maxRequestBytes: 1000 });
  const refusals = ports.map((port) => {
    const { call, failure } = follow(port);
    call.write(Buffer.from("one"));
    return failure;
  });
  const text =
    "9 the body can not be checked: it is a stream of messages that goes on, and allowPartialMessage is not set";
  expect(await Promise.all(refusals)).toEqual(ports.map(() => text));
  expect(asked).toEqual([]);
  expect(messages).toBe(0);
}, 20_000);

const route = JSON.stringify({
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "GRPCRoute",
  metadata: { name: "orders" },
  spec: {
    parentRefs: [{ group: "mecha.run", kind: "App", name: "orders" }],
    rules: [
      {
        filters: [
          {
            type: "RequestHeaderModifier",
            requestHeaderModifier: { set: [{ name: "x-by", value: "route" }] },
          },
        ],
        backendRefs: [{ group: "mecha.run", kind: "App", name: "orders" }],
      },
    ],
  },
});

test("it is the same by a route that changes the metadata, and a call that is given up leaves nothing", async () => {
  const { asked, ports, near } = await start({ maxRequestBytes: 1000 }, route);
  for (const port of ports) expect(await pay(port, Buffer.from("good"))).toBe(digest(Buffer.from("good")));
  expect(asked).toHaveLength(3);
  for (const port of ports) {
    const { call, failure } = follow(port);
    call.write(Buffer.from("one"));
    setTimeout(() => call.cancel(), 50);
    expect(await failure).toBe("1 Cancelled on client");
  }
  expect(await pay(ports[0] as number, Buffer.from("good"))).toBe(digest(Buffer.from("good")));
  expect(near.log()).not.toContain("unhandled");
});
