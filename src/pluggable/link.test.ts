import { afterEach, expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { ServerUnavailable } from "../component/server-unavailable.ts";
import { realEdges } from "../edges/edges.ts";
import { Fault } from "../errors.ts";
import { createGrpcServer, GrpcError, type GrpcMethod, grpcCode } from "../net/grpc/index.ts";
import { until } from "../testing/index.ts";
import * as wire from "../wire/dapr/proto/components/v1/components_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "../wire/google/rpc/error_details_pb.js";
import { failureOf } from "./failure.ts";
import { contract, PluggedLink } from "./link.ts";
import { openPubSub } from "./pubsub.ts";
import { openStateStore } from "./state-store.ts";

// Components that do what none should.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const empty = new Uint8Array(0);
const never = new Promise<never>(() => undefined);
let count = 0;

/** A component of these methods; Init, Features and Ping answer nothing at all unless they say otherwise. */
async function linkTo(methods: Record<string, GrpcMethod>, pingEveryMs = 10_000): Promise<PluggedLink> {
  const quiet: GrpcMethod = { kind: "unary", handle: () => empty };
  const server = createGrpcServer({
    lookup: (path) =>
      methods[path.slice(contract.length + 2)] ?? (/\/(Init|Features|Ping)$/.test(path) ? quiet : undefined),
  });
  const socketPath = `/tmp/mecha-link-${process.pid}-${++count}.sock`;
  await server.listen({ socketPath });
  closers.push(() => server.close());
  const edges = realEdges();
  const { setTimer } = edges.clock;
  const clock: typeof edges.clock = {
    ...edges.clock,
    setTimer: (ms, ...rest) => setTimer(ms === 10_000 ? pingEveryMs : ms, ...rest),
  };
  const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log };
  const services = ["PubSub"];
  const options = { socketPath, services, instance: "x", properties: {}, callTimeoutMs: 300, log };
  const link = new PluggedLink({ ...options, edges: { ...edges, clock } });
  await link.open();
  closers.push(() => link.close());
  return link;
}

const unary = (handle: (request: Uint8Array) => Uint8Array | Promise<Uint8Array>): GrpcMethod => ({
  kind: "unary",
  handle,
});
const subscription = { topic: "t", metadata: {}, consumerGroup: "g", concurrencyMax: 3 };
const message = (id: string, bytes = 0) =>
  toBinary(
    wire.PullMessagesResponseSchema,
    create(wire.PullMessagesResponseSchema, { id, data: new Uint8Array(bytes) }),
  );

test("a flood of messages is held back while the app is at work", async () => {
  let sent = 0;
  const flood: GrpcMethod = {
    kind: "stream",
    async handle(_requests, send, { signal }) {
      while (!signal.aborted && sent < 100_000) {
        await send(message(String(sent), 64 * 1024));
        sent++;
      }
    },
  };
  const pubsub = await openPubSub(await linkTo({ "PubSub/PullMessages": flood }));
  let atWork = 0;
  await pubsub.subscribe(subscription, () => {
    atWork++;
    return never;
  });
  await until(() => atWork === 3, "as many as may be are at work");
  const before = await new Promise<number>((done) => setTimeout(() => done(sent), 200));
  await new Promise((done) => setTimeout(done, 200));
  expect([atWork, sent]).toEqual([3, before]);
  // What the windows of the stream hold, of the six gigabytes.
  expect(sent).toBeLessThan(2_000);
});

test("answers and messages that are no protobuf are errors, and the stream is begun anew", async () => {
  let streams = 0;
  const nonsense = Uint8Array.of(0xff, 0xff, 0xff);
  const link = await linkTo({
    "StateStore/Get": unary(() => nonsense),
    "PubSub/PullMessages": {
      kind: "stream",
      async handle(_requests, send) {
        await send(++streams < 3 ? nonsense : message("good"));
        await never;
      },
    },
  });
  const store = await openStateStore(link, new Set());
  const error = await store.get({ key: "k", metadata: {} }).catch((one: Error) => one);
  expect(String(error)).toContain("the component's answer to StateStore/Get can not be read");
  const seen: string[] = [];
  await (await openPubSub(link)).subscribe(subscription, async ({ topic }) => void seen.push(topic));
  await until(() => seen.length === 1, "the good one is there");
  expect(streams).toBe(3);
});

test("a call that is never answered ends in time", async () => {
  const store = await openStateStore(await linkTo({ "StateStore/Set": unary(() => never) }), new Set());
  const error = await store.set({ key: "k", value: empty, metadata: {} }).catch((one: Error) => one);
  expect(error).toBeInstanceOf(ServerUnavailable);
  expect((error as ServerUnavailable).outcome).toBe("unknown");
});

test("an answer that is too large is refused", async () => {
  const huge = toBinary(
    wire.GetResponseSchema,
    create(wire.GetResponseSchema, { data: new Uint8Array(65 << 20) }),
  );
  const store = await openStateStore(await linkTo({ "StateStore/Get": unary(() => huge) }), new Set());
  const error = await store.get({ key: "k", metadata: {} }).catch((one: GrpcError) => one);
  expect((error as GrpcError).code).toBe(grpcCode.RESOURCE_EXHAUSTED);
});

test("a process that does not answer a ping loses its streams, and gets them anew", async () => {
  let [pings, streams, inits] = [0, 0, 0];
  const link = await linkTo(
    {
      "PubSub/Init": unary(() => {
        inits++;
        return empty;
      }),
      "PubSub/Ping": unary(() => (++pings === 1 ? never : empty)),
      "PubSub/PullMessages": {
        kind: "stream",
        async handle() {
          streams++;
          await never;
        },
      },
    },
    50,
  );
  await (await openPubSub(link)).subscribe(subscription, async () => undefined);
  await until(() => streams === 2, "the stream is begun anew");
  expect(inits).toBe(2);
});

test("errors are told as the component tells them", () => {
  const any = (name: string, value: Uint8Array) =>
    toBinary(AnySchema, create(AnySchema, { typeUrl: `type.googleapis.com/google.rpc.${name}`, value }));
  const etag = (field: string) =>
    any(
      "BadRequest",
      toBinary(
        BadRequestSchema,
        create(BadRequestSchema, { fieldViolations: [{ field, description: "not that" }] }),
      ),
    );
  const failure = (code: number, details: Uint8Array[]) =>
    failureOf(new GrpcError(code, "text", { details }), "unknown");
  expect(failure(grpcCode.FAILED_PRECONDITION, [etag("etag")])).toMatchObject({
    name: "EtagMismatch",
    message: "not that",
  });
  expect(failure(grpcCode.INVALID_ARGUMENT, [etag("etag")]).name).toBe("EtagInvalid");
  for (const details of [[etag("other")], [etag("etag"), etag("etag")], [], [Uint8Array.of(0xff)]]) {
    expect(failure(grpcCode.INVALID_ARGUMENT, details).name).toBe("GrpcError");
  }
  expect(failure(grpcCode.INTERNAL, [etag("etag")]).name).toBe("GrpcError");
  const info = (http: string) =>
    any(
      "ErrorInfo",
      toBinary(
        ErrorInfoSchema,
        create(ErrorInfoSchema, {
          reason: "FULL",
          metadata: { kit_error: "true", http_code: http, tag: "ERR_FULL" },
        }),
      ),
    );
  const own = failure(grpcCode.RESOURCE_EXHAUSTED, [info("507")]);
  expect(own).toBeInstanceOf(Fault);
  expect(own).toMatchObject({
    code: "ERR_FULL",
    http: 507,
    grpc: grpcCode.RESOURCE_EXHAUSTED,
    message: "text",
  });
  expect(failure(grpcCode.INTERNAL, [info("20")]).name).toBe("GrpcError");
});
