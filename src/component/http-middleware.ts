import type { HttpHandler, HttpReply, HttpRequest } from "../net/http1/types.ts";

/** What a `middleware.http.*` component opens into: it stands before a handler, in a pipeline of the Configuration. */
export interface HttpMiddleware {
  /** Answers itself, or lets `next` answer the request or a changed one. */
  handle(request: HttpRequest, next: HttpHandler): HttpReply | Promise<HttpReply>;
  /** Asks the server, where `open` has not yet; rejects with why it can not be used. */
  ping?(): Promise<void>;
  close(): Promise<void>;
}
