import { expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../app/channel.ts";
import { GrpcError } from "../net/grpc/types.ts";
import { InvokeRequestSchema } from "../wire/dapr/proto/common/v1/common_pb.js";
import type { AppScope } from "./call.ts";
import { pushToApp } from "./configuration-push.ts";

function grpcApp(answer: () => Uint8Array) {
  const calls: { path: string; method: string; body: unknown }[] = [];
  const failures: unknown[] = [];
  const unary = async (path: string, request: Uint8Array): Promise<Uint8Array> => {
    const { method, data } = fromBinary(InvokeRequestSchema, request);
    calls.push({ path, method, body: JSON.parse(Buffer.from(data?.value ?? []).toString()) });
    return answer();
  };
  const channel = {
    protocol: "grpc",
    grpc: { unary },
    grpcMetadata: () => [],
    withSlot: (work: () => unknown) => work(),
  } as unknown as AppChannel;
  const log = { error: (fields: unknown) => void failures.push(fields) };
  const app = { telemetry: { log: { scope: () => log } } } as unknown as AppScope;
  return { app, channel, calls, failures };
}

const items = { colour: { value: "red", version: "1", metadata: {} } };

test("pushToApp() calls OnInvoke of a gRPC app", async () => {
  const { app, channel, calls, failures } = grpcApp(() => new Uint8Array(0));
  pushToApp(app, channel, "settings", "sub-1", items);
  await new Promise(setImmediate);
  expect(calls).toEqual([
    {
      path: "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
      method: "/configuration/settings/colour",
      body: { id: "sub-1", items },
    },
  ]);
  expect(failures).toEqual([]);
});

test("pushToApp() logs what the app refuses", async () => {
  const { app, channel, failures } = grpcApp(() => {
    throw new GrpcError(12, "not implemented");
  });
  pushToApp(app, channel, "settings", "sub-1", items);
  await new Promise(setImmediate);
  expect(failures).toMatchObject([{ store: "settings", key: "colour" }]);
});
