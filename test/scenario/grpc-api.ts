import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import type { TestMecha } from "../../src/testing/index.ts";

/** Unary calls of Dapr's gRPC API, as one app's clients make them. */
export function grpcApi(mecha: TestMecha, appId: string, metadata: [string, string][] = []) {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports(appId).grpc });
  return {
    call: <I extends DescMessage>(
      method: string,
      schema: I,
      request: MessageInitShape<I>,
    ): Promise<Uint8Array> =>
      client.unary(`/dapr.proto.runtime.v1.Dapr/${method}`, toBinary(schema, create(schema, request)), {
        metadata,
      }),
    close: () => client.close(),
  };
}
