// Bare HTTP/2 for the tests: what no gRPC library would send.
import http2 from "node:http2";

export const grpcHeaders = {
  ":method": "POST",
  ":path": "/test.Echo/Unary",
  "content-type": "application/grpc",
  te: "trailers",
};

export interface RawAnswer {
  headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  body: Uint8Array;
  trailers: http2.IncomingHttpHeaders | undefined;
  rstCode: number;
}

/** Sends header lines and body pieces as given; resolves with what came back when the stream is closed. */
export function rawCall(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  pieces: (string | Uint8Array)[],
  options: { keepsOpen?: boolean } = {},
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const stream = session.request({ ...grpcHeaders, ...headers });
    const answer: RawAnswer = { headers: {}, body: Buffer.alloc(0), trailers: undefined, rstCode: 0 };
    stream.on("response", (received) => {
      answer.headers = received;
    });
    stream.on("data", (chunk: Uint8Array) => {
      answer.body = Buffer.concat([answer.body, chunk]);
    });
    stream.on("trailers", (received) => {
      answer.trailers = received;
    });
    stream.on("error", () => {});
    stream.on("close", () => resolve({ ...answer, rstCode: stream.rstCode ?? 0 }));
    for (const piece of pieces) stream.write(piece);
    if (!options.keepsOpen) stream.end();
  });
}

export function openRaw(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  return session;
}

/** Waits for a condition; the deadline is for broken code only. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 4_500;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
