import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient, type GrpcClient, GrpcError, grpcCode } from "../net/grpc/index.ts";
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "../wire/grpc/reflection/reflection_pb.js";
import { asUnavailable } from "./failure.ts";

/** Older SDKs know only the first. */
const paths = ["v1alpha", "v1"].map(
  (version) => `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
);
const timeoutMs = 5_000;

/** The names of the services behind a socket, as its reflection tells them. */
export async function listServices(socketPath: string): Promise<ReadonlySet<string>> {
  const client = createGrpcClient({ socketPath }, { connectTimeoutMs: timeoutMs });
  try {
    for (const path of paths) {
      const names = await ask(client, path);
      if (names !== undefined) return names;
    }
    throw new Error(`what listens on ${socketPath} does not tell its services: it has no gRPC reflection`);
  } catch (error) {
    throw error instanceof GrpcError ? asUnavailable(error, "undone") : error;
  } finally {
    client.close();
  }
}

async function ask(client: GrpcClient, path: string): Promise<ReadonlySet<string> | undefined> {
  const stream = client.stream(path, { timeoutMs });
  try {
    const request = create(ServerReflectionRequestSchema, { listServices: "*" });
    await stream.send(toBinary(ServerReflectionRequestSchema, request));
    stream.end();
    for await (const bytes of stream.responses) {
      const { service = [] } = fromBinary(ServerReflectionResponseSchema, bytes).listServicesResponse ?? {};
      return new Set(service.map(({ name }) => name));
    }
    return new Set();
  } catch (error) {
    if (error instanceof GrpcError && error.code === grpcCode.UNIMPLEMENTED) return undefined;
    throw error;
  }
}
