export { createGrpcClient, type GrpcClientOptions } from "./client.ts";
export type { GrpcAddress } from "./client-connection.ts";
export { decodeBinaryMetadata, encodeBinaryMetadata } from "./metadata.ts";
export { createGrpcServer, type GrpcServer, type GrpcServerOptions, type ListenAddress } from "./server.ts";
export { type GrpcCodeName, grpcCode, grpcCodeGoName, grpcCodeName, grpcCodeOfHttpStatus } from "./status.ts";
export { decodeRpcStatus, encodeRpcStatus, type RpcStatus } from "./status-details.ts";
export * from "./types.ts";
