import { fromBinary } from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import { fakeApp } from "../../src/testing/index.ts";
import { HTTPExtension_Verb, InvokeResponseSchema } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { InvokeServiceRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/invoke_pb.js";
import { grpcApi } from "../scenario/grpc-api.ts";
import type { Bench, Opened, Plan } from "./rig.ts";

const target = "{ kind: App, name: orders }";
/** What a hash may look at. */
const headers = { "x-user": "tom" };

/** The app `orders`, called by `shop`. */
async function orders(plan: Plan): Promise<Omit<Opened, "start">> {
  const app = await fakeApp({
    otherwise: async ({ target: path }) => {
      if (path === "/check") return { status: plan.isWell ? 200 : 503 };
      return (await plan.next()) ? { body: "done" } : { status: 503, body: "broken" };
    },
  });
  return { apps: [{ appId: "shop" }, { appId: "orders", app }], resources: "", close: () => app.close() };
}

export const overHttp: Bench = {
  block: "invoke HTTP",
  target,
  operation: "GET",
  open: async (plan) => ({
    ...(await orders(plan)),
    start: async (mecha) => async () => {
      const { status, text } = await mecha.http("shop", "GET /v1.0/invoke/orders/method/pay", { headers });
      return { isGood: status === 200, text };
    },
  }),
};

export const overGrpc: Bench = {
  block: "invoke gRPC",
  target,
  operation: "GET",
  async open(plan) {
    const opened = await orders(plan);
    let closeApi = (): void => {};
    return {
      ...opened,
      async start(mecha) {
        const api = grpcApi(mecha, "shop", Object.entries(headers));
        closeApi = api.close;
        return async () => {
          const message = { method: "pay", httpExtension: { verb: HTTPExtension_Verb.GET } };
          try {
            const request = { id: "orders", message };
            const bytes = await api.call("InvokeService", InvokeServiceRequestSchema, request);
            const { data } = fromBinary(InvokeResponseSchema, bytes);
            return { isGood: true, text: Buffer.from(data?.value ?? []).toString() };
          } catch (error) {
            return { isGood: false, text: (error as Error).message };
          }
        };
      },
      async close() {
        closeApi();
        await opened.close();
      },
    };
  },
};

const raw = (bytes: Buffer): Buffer => bytes;
const pay = {
  ...{ path: "/test.v1.Orders/Pay", requestStream: false, responseStream: false },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
};

const check = { ...pay, path: "/grpc.health.v1.Health/Check" };
/** grpc.health.v1.HealthCheckResponse. */
const [serving, notServing] = [Buffer.from([8, 1]), Buffer.from([8, 2])];

export const proxied: Bench = {
  block: "gRPC proxied",
  target,
  operation: "POST",
  async open(plan) {
    const server = new grpc.Server();
    server.addService(
      { pay, check },
      {
        check: (_call: unknown, reply: grpc.sendUnaryData<Buffer>) =>
          reply(null, plan.isWell ? serving : notServing),
        pay: async (_call: unknown, reply: grpc.sendUnaryData<Buffer>) => {
          if (await plan.next()) reply(null, Buffer.from("done"));
          else reply({ code: grpc.status.UNAVAILABLE, details: "broken" });
        },
      },
    );
    const app = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    let client: grpc.Client | undefined;
    return {
      apps: [{ appId: "shop" }, { appId: "orders", app, options: { appProtocol: "grpc" } }],
      resources: "",
      async start(mecha) {
        const address = `127.0.0.1:${mecha.ports("shop").grpc}`;
        const caller = new grpc.Client(address, grpc.credentials.createInsecure());
        client = caller;
        const metadata = new grpc.Metadata();
        metadata.set("dapr-app-id", "orders");
        for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
        return () =>
          new Promise((resolve) =>
            caller.makeUnaryRequest(pay.path, raw, raw, Buffer.from("x"), metadata, (error, answer) =>
              resolve({ isGood: error === null, text: error === null ? String(answer) : error.details }),
            ),
          );
      },
      close() {
        client?.close();
        server.forceShutdown();
      },
    };
  },
};

export const callBenches: readonly Bench[] = [overHttp, overGrpc, proxied];
