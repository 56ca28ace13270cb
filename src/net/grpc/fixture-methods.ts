// Handlers of the server's own tests.
import { type GrpcContext, GrpcError, type GrpcMethod, type Metadata } from "./types.ts";

export const anyDetail = Uint8Array.of(10, 3, 97, 47, 98);
/** What the handlers have seen. */
export const seen: {
  context: GrpcContext | undefined;
  sent: number;
  aborted: unknown[];
  uploads: unknown[];
} = {
  context: undefined,
  sent: 0,
  aborted: [],
  uploads: [],
};

/** Handlers for every kind of call and of failure. */
export const echoMethods: Record<string, GrpcMethod> = {
  "/test.Echo/Unary": { kind: "unary", handle: (request) => request },
  "/test.Echo/Late": { kind: "unary", handle: async (request) => request },
  "/test.Echo/Meta": {
    kind: "unary",
    handle: (request, call) => {
      seen.context = call;
      for (const [name, value] of call.metadata) {
        if (name === "x-echo") call.replyHeaders.push(["x-header", value]);
        if (name === "x-echo-bin") call.replyTrailers.push(["x-trailer-bin", value]);
      }
      return request;
    },
  },
  "/test.Echo/Fail": {
    kind: "unary",
    handle: () => {
      throw new GrpcError(9, "nö: 100% broken\n", { details: [anyDetail], metadata: [["x-why", "because"]] });
    },
  },
  "/test.Echo/Odd": {
    kind: "unary",
    handle: () => {
      const metadata: Metadata = [
        ["x-odd", "line\nfeed"],
        ["not a name", "x"],
        ["authorization", "a"],
        ["authorization", "b"],
      ];
      throw new GrpcError(2, "m".repeat(50_000), { details: [new Uint8Array(100_000)], metadata });
    },
  },
  "/test.Echo/Crash": { kind: "unary", handle: () => Promise.reject(new Error("crashed")) },
  "/test.Echo/Hang": {
    kind: "unary",
    handle: (_request, call) => {
      call.signal.addEventListener("abort", () => seen.aborted.push(call.signal.reason));
      return new Promise(() => {});
    },
  },
  "/test.Echo/Client": {
    kind: "stream",
    handle: async (requests, send) => {
      let total = 0;
      for await (const request of requests) total += request.length;
      await send(Buffer.from(String(total)));
    },
  },
  "/test.Echo/Upload": {
    kind: "stream",
    handle: async (requests) => {
      try {
        for await (const _ of requests) seen.uploads.push("message");
        seen.uploads.push("whole");
      } catch (error) {
        seen.uploads.push(error);
      }
    },
  },
  "/test.Echo/Server": {
    kind: "stream",
    handle: async (requests, send) => {
      for await (const request of requests) for (const byte of request) await send(Uint8Array.of(byte));
    },
  },
  "/test.Echo/Bidi": {
    kind: "stream",
    handle: async (requests, send) => {
      for await (const request of requests) await send(request);
    },
  },
  "/test.Echo/Partly": {
    kind: "stream",
    handle: async (_requests, send) => {
      await send(Uint8Array.of(1));
      throw new GrpcError(8, "enough");
    },
  },
  "/test.Echo/Flood": {
    kind: "stream",
    handle: async (_requests, send, call) => {
      seen.sent = 0;
      const message = new Uint8Array(64 * 1024);
      while (!call.signal.aborted) {
        await send(message);
        seen.sent += message.length;
      }
    },
  },
  "/test.Echo/Stall": {
    kind: "stream",
    handle: (_requests, _send, call) =>
      new Promise((_resolve, reject) => {
        call.signal.addEventListener("abort", () => reject(call.signal.reason));
      }),
  },
};
