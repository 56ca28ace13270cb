export { type BodySink, IncomingBody, noBody, readyBytes, WholeBody } from "./body.ts";
export { createHttpClient, type HttpClientOptions } from "./client.ts";
export {
  BodyAborted,
  BodyTaken,
  BodyTooLarge,
  ConnectError,
  ConnectionLost,
  HttpParseError,
  InvalidMessage,
  RequestAborted,
  ResponseTimeout,
} from "./errors.ts";
export { type BoundAddress, createHttpServer, type HttpServer, type ListenAddress } from "./server.ts";
export type { HttpServerOptions } from "./server-options.ts";
export type * from "./types.ts";
