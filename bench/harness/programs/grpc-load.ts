// Unary gRPC calls as fast as a number of calls in flight allows, over a few connections, as SDK channels do.
// Arguments: port, path, message (base64), seconds, calls in flight, metadata (JSON). Prints a report as JSON.
import { type ClientHttp2Session, connect } from "node:http2";

const [port, path, message, seconds, inFlight, metadata = "{}"] = process.argv.slice(2);
const sessionCount = 8;

const body = Buffer.from(message ?? "", "base64");
const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), body]);
frame.writeUInt32BE(body.length, 1);
const headers = {
  ":method": "POST",
  ":path": path ?? "/",
  "content-type": "application/grpc",
  te: "trailers",
  ...(JSON.parse(metadata) as Record<string, string>),
};

const startedMs = Date.now();
const endMs = startedMs + Number(seconds) * 1000;
let requests = 0;
let failed = 0;
let firstFailure = "";

function call(session: ClientHttp2Session): Promise<void> {
  return new Promise((done) => {
    const stream = session.request(headers);
    let status: unknown;
    const read = (lines: Record<string, unknown>) => {
      status ??= lines["grpc-status"];
      if (status !== undefined && status !== "0") firstFailure ||= String(lines["grpc-message"] ?? status);
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("data", () => {});
    stream.on("error", (error: Error) => {
      firstFailure ||= error.message;
    });
    stream.on("close", () => {
      requests++;
      if (status !== "0") failed++;
      done();
    });
    stream.end(frame);
  });
}

async function caller(session: ClientHttp2Session): Promise<void> {
  while (Date.now() < endMs) await call(session);
}

const sessions = Array.from({ length: sessionCount }, () => connect(`http://127.0.0.1:${port}`));
const callers = Array.from({ length: Number(inFlight) }, (_, index) => {
  return caller(sessions[index % sessionCount] as ClientHttp2Session);
});
await Promise.all(callers);
for (const session of sessions) session.close();
console.log(JSON.stringify({ requests, failed, firstFailure, tookS: (Date.now() - startedMs) / 1000 }));
