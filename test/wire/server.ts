import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { operations } from "../../src/api/operations.ts";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { decodeBinaryMetadata } from "../../src/net/grpc/metadata.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { GrpcError, type Metadata } from "../../src/net/grpc/types.ts";
import { createHttpClient } from "../../src/net/http1/client.ts";
import { createHttpServer } from "../../src/net/http1/server.ts";
import { createGrpcApi } from "../../src/transport/grpc/api.ts";
import { createHttpApi } from "../../src/transport/http/api.ts";
import { type TestScope, testScope } from "./parts.ts";

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface TestServer {
  app: TestScope;
  httpPort: number;
  /** `GET /v1.0/…`, raw as written; headers and body as given. */
  http(
    line: string,
    options?: { headers?: Record<string, string>; body?: string | Uint8Array },
  ): Promise<Answer>;
  grpc: ReturnType<typeof createGrpcClient>;
  /** A unary call; rejects with a GrpcError. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: { metadata?: Metadata; onHeaders?: (metadata: Metadata) => void },
  ): Promise<MessageShape<O>>;
  close(): Promise<void>;
}

export async function startServer(changes: Parameters<typeof testScope>[0] = {}): Promise<TestServer> {
  const app = await testScope(changes);
  const httpServer = createHttpServer({ handler: createHttpApi({ app, operations }) });
  const grpcServer = createGrpcServer({ lookup: createGrpcApi({ app, operations }) });
  const bound = await httpServer.listen({ host: "127.0.0.1", port: 0 });
  const httpPort = "port" in bound ? bound.port : 0;
  const address = await grpcServer.listen({ host: "127.0.0.1", port: 0 });
  const client = createHttpClient();
  const grpc = createGrpcClient(address);
  return {
    app,
    httpPort,
    grpc,
    async http(line, { headers = {}, body } = {}) {
      const [method = "", target = ""] = line.split(/ (.*)/);
      const response = await client.request(
        { host: "127.0.0.1", port: httpPort },
        { method, target, headers: Object.entries(headers).flat(), body },
      );
      const bytes = await response.body.bytes(16 << 20);
      return {
        status: response.status,
        headers: headersOf(response.rawHeaders),
        body: Buffer.from(bytes).toString("utf8"),
      };
    },
    async call(method, request, options) {
      const path = `/${method.parent.typeName}/${method.name}`;
      const bytes = toBinary(method.input, create(method.input, request));
      return fromBinary(method.output, await grpc.unary(path, bytes, { timeoutMs: 10_000, ...options }));
    },
    async close() {
      grpc.close();
      client.close();
      await httpServer.close();
      await grpcServer.close();
      await app.pubsub.close();
    },
  };
}

function headersOf(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    headers[name] = headers[name] === undefined ? (raw[i + 1] as string) : `${headers[name]}, ${raw[i + 1]}`;
  }
  return headers;
}

/** The error of a call that has to fail. */
export async function failureOf(call: Promise<unknown>): Promise<GrpcError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof GrpcError) return error;
    throw error;
  }
  throw new Error("the call did not fail");
}

export { decodeBinaryMetadata };
