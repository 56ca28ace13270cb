import { expect, test } from "bun:test";
import fc from "fast-check";
import { FixtureSocket } from "./fixture-socket.ts";
import { createHttpServer } from "./server.ts";

const tokenChars = "!#$%&'*+-.^_`|~0123456789abcXYZ";
const token = fc.string({ unit: fc.constantFrom(...tokenChars), minLength: 1, maxLength: 12 });
const valueChars = Array.from({ length: 224 }, (_, i) => String.fromCharCode(i + 32)).filter(
  (c) => c !== "\x7f",
);
const value = fc
  .string({ unit: fc.constantFrom(...valueChars, "\t"), maxLength: 20 })
  .map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ""));
const target = fc
  .string({ unit: fc.constantFrom(...valueChars.filter((c) => c !== " " && c !== "#")), maxLength: 30 })
  .map((text) => `/${text}`);
const reserved = new Set(["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"]);
const field = fc.tuple(token, value).filter(([name]) => !reserved.has(name.toLowerCase()));
const bytes = fc.string({
  unit: fc.constantFrom("\r", "\n", "0", "a", "\0", "\xff", ":", " "),
  maxLength: 40,
});

interface Wanted {
  method: string;
  target: string;
  fields: [string, string][];
  pieces: string[];
  framing: "none" | "length" | "chunked";
}

const request: fc.Arbitrary<Wanted> = fc.record({
  method: token.filter((method) => method !== "CONNECT"),
  target,
  fields: fc.array(field, { maxLength: 6 }),
  pieces: fc.array(
    bytes.filter((text) => text !== ""),
    { maxLength: 4 },
  ),
  framing: fc.constantFrom("none", "length", "chunked"),
});

function bodyOf(wanted: Wanted): string {
  return wanted.framing === "none" ? "" : wanted.pieces.join("");
}

function headersOf(wanted: Wanted): string[] {
  const framing: Record<Wanted["framing"], string[]> = {
    none: [],
    length: ["Content-Length", String(bodyOf(wanted).length)],
    chunked: ["Transfer-Encoding", "chunked"],
  };
  return ["Host", "a", ...wanted.fields.flat(), ...framing[wanted.framing]];
}

function written(wanted: Wanted): string {
  const headers = headersOf(wanted);
  let text = `${wanted.method} ${wanted.target} HTTP/1.1\r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  text += "\r\n";
  if (wanted.framing !== "chunked") return text + bodyOf(wanted);
  for (const piece of wanted.pieces) text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  return `${text}0\r\n\r\n`;
}

async function parsed(chunks: string[]): Promise<unknown[]> {
  const seen: unknown[] = [];
  const server = createHttpServer({
    handler: async ({ method, target, rawHeaders, body }) => {
      const whole = await body.bytes(10_000);
      seen.push([method, target, rawHeaders, Buffer.from(whole).toString("latin1")]);
      return { status: 204, headers: [] };
    },
  });
  const socket = new FixtureSocket();
  server.accept(socket.asSocket());
  for (const chunk of chunks) if (chunk !== "") socket.push(Buffer.from(chunk, "latin1"));
  for (let i = 0; i < 60; i++) await Promise.resolve();
  await server.close();
  return seen;
}

test("any split of pipelined requests parses to the same requests", async () => {
  const cuts = fc.array(fc.nat(1_000), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 4 }), cuts, async (wanted, positions) => {
      const stream = wanted.map(written).join("");
      const ends = [...new Set(positions.map((at) => at % stream.length))].sort((a, b) => a - b);
      const chunks = [...ends, stream.length].map((end, i) => stream.slice(i === 0 ? 0 : ends[i - 1], end));
      const expected = wanted.map((one) => [one.method, one.target, headersOf(one), bodyOf(one)]);
      expect(await parsed(chunks)).toEqual(expected);
    }),
    { numRuns: 400 },
  );
});

test("no bytes whatever make the server throw or answer twice", async () => {
  const part = fc.constantFrom(
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 3\r\n",
    "Connection: Upgrade\r\nUpgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "abc",
    "\n",
    "\r",
    ":",
    " ",
    "\0",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 14 }), async (parts) => {
      const whole = await parsed([parts.join("")]);
      expect(await parsed(parts)).toEqual(whole);
    }),
    { numRuns: 1_000 },
  );
});
