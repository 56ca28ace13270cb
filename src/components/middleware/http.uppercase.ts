import { component } from "../../component/component.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { changedRequest, StreamedBody } from "../../net/http1/changed-request.ts";

export default component({
  type: "middleware.http.uppercase",
  version: "v1",
  status: "stable",
  summary: "The body of a request in upper case, to see a pipeline at work",
  metadata: {},
  async open(): Promise<HttpMiddleware> {
    return {
      handle(request, next) {
        if (request.body.size === 0) return next(request);
        return next(changedRequest(request, { body: new StreamedBody(upperCase(request.body)) }));
      },
      async close() {},
    };
  },
});

async function* upperCase(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // A letter may be cut in two between pieces.
  const decoder = new TextDecoder();
  for await (const piece of pieces) yield Buffer.from(decoder.decode(piece, { stream: true }).toUpperCase());
  yield Buffer.from(decoder.decode().toUpperCase());
}
