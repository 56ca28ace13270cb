import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import fc from "fast-check";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { runs } from "./settings.ts";

let mecha: TestMecha;
beforeAll(async () => {
  mecha = await startMecha({ apps: [{ appId: "fuzzed" }] });
});
afterAll(() => mecha.stop());

/** Everything the server says to some bytes after which the client says no more. */
function converse(port: number, pieces: readonly Uint8Array[]): Promise<string> {
  return new Promise((done, fail) => {
    let answer = "";
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    socket.setTimeout(15_000, () => socket.destroy(new Error(`no end after ${JSON.stringify(answer)}`)));
    socket.on("connect", () => {
      for (const piece of pieces) socket.write(piece);
      socket.end();
    });
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
    });
    // A server that refuses may reset while we still write.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET" && error.code !== "EPIPE") fail(error);
    });
    socket.on("close", () => done(answer));
  });
}

const part = fc.constantFrom(
  "GET ",
  "POST ",
  "/v1.0/state/statestore/a",
  "/v1.0/publish/pubsub/t",
  "/v1.0/invoke/x/method/y",
  "/%00%zz/..//",
  " HTTP/1.1",
  " HTTP/1.0",
  " HTTP/9.9",
  "\r\n",
  "\n",
  "\r",
  "Host: a\r\n",
  "Host: a\r\nHost: b\r\n",
  "Content-Length: 3\r\n",
  "Content-Length: -1\r\n",
  "Content-Length: 18446744073709551617\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: xchunked\r\n",
  "Connection: close\r\n",
  "Expect: 100-continue\r\n",
  "Upgrade: websocket\r\nConnection: Upgrade\r\n",
  "3\r\nabc\r\n0\r\n\r\n",
  "ffffffffffffffff\r\n",
  "[]",
  " : folded\r\n",
  "\u0000",
);
const message = fc.array(fc.oneof({ weight: 6, arbitrary: part }, { weight: 1, arbitrary: fc.string() }), {
  maxLength: 14,
});

test("any bytes get whole answers or none, and the server serves on", async () => {
  const { http } = mecha.ports("fuzzed");
  await fc.assert(
    fc.asyncProperty(message, fc.boolean(), async (parts, isWhole) => {
      const bytes = parts.map((text) => Buffer.from(text, "latin1"));
      const answer = await converse(http, isWhole ? [Buffer.concat(bytes)] : bytes);
      if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 [1-5]\d\d /);
      expect((await mecha.http("fuzzed", "GET /v1.0/healthz")).status).toBe(204);
    }),
    runs(400),
  );
});

test("random bytes are never a request", async () => {
  const { http } = mecha.ports("fuzzed");
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
      const answer = await converse(http, [bytes]);
      if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 [45]\d\d /);
    }),
    runs(200),
  );
});

test("a request smuggled behind a body of doubtful length is never answered", async () => {
  const { http } = mecha.ports("fuzzed");
  const lengths = fc.constantFrom(
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 4\r\nContent-Length: 5\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Content-Length: +4\r\n",
    "Content-Length: 4,5\r\n",
  );
  const smuggled = "0\r\n\r\nGET /v1.0/metadata HTTP/1.1\r\nHost: a\r\n\r\n";
  await fc.assert(
    fc.asyncProperty(lengths, fc.constantFrom("POST", "PUT", "GET"), async (length, verb) => {
      const head = `${verb} /v1.0/state/statestore HTTP/1.1\r\nHost: a\r\n${length}\r\n`;
      const answer = await converse(http, [Buffer.from(head + smuggled)]);
      expect(answer).toMatch(/^HTTP\/1\.1 (400|501) /);
      expect(answer).not.toContain("runtimeVersion");
    }),
    runs(60),
  );
});
