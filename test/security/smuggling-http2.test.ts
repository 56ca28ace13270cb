// HTTP/2 requests that would be another message once they are written as HTTP/1 (security.md §4.5, SEC-H1).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type SimulatedEdges, simulatedEdges } from "../../src/edges/simulated.ts";
import { clientPreface, flag, frame, frameType, settingsFrame } from "../../src/net/http2/frames.ts";
import { type RecordingApp, recordingApp } from "./recording-app.ts";
import { openRuntimes, type SimulatedRuntimes } from "./simulated-runtimes.ts";

const appPort = 8080;
let edges: SimulatedEdges;
let app: RecordingApp;
let runtimes: SimulatedRuntimes;

beforeAll(async () => {
  edges = simulatedEdges(1);
  app = await recordingApp(edges.sockets, appPort);
  runtimes = await openRuntimes(edges, appPort);
});

afterAll(async () => {
  await runtimes.close();
  await app.close();
});

type Line = [name: string, value: string];
interface Http2Case {
  name: string;
  lines: Line[];
  body?: string;
  /** What the app may get, as `METHOD target body`. */
  seen?: string;
}

const pseudo = (changes: Record<string, string | undefined> = {}): Line[] =>
  Object.entries({
    ...{ ":method": "POST", ":scheme": "http", ":path": "/p", ":authority": "localhost" },
    ...changes,
  }).flatMap(([name, value]): Line[] => (value === undefined ? [] : [[name, value]]));
const to: Line = ["dapr-app-id", "callee"];
const shown = (text: string) => JSON.stringify(text.slice(0, 40));
const spoilt = [
  "\r\nX: 1",
  "\n",
  "\r",
  "\0",
  " ",
  "\t",
  "\x0b",
  "\x7f",
  "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

const bad = (name: string, lines: Line[], body?: string): Http2Case => ({ name, lines, body });
const paths = ["", "a", "http://localhost/p", "*", "/p#a", "/p?a#b", ...spoilt.map((one) => `/p${one}`)];
const queries = spoilt.map((one) => `/p?a=${one}b`);
const methods = ["", "G(T", "GET /x HTTP/1.1", "CONNECT", "GET,", ...spoilt.map((one) => `POST${one}`)];
const names = [
  "X",
  "",
  "x y",
  "x:",
  "content-length ",
  " content-length",
  "x\u00e9",
  ":x",
  "transfer_encoding\0",
];
const values = spoilt.filter((one) => one !== " " && one !== "\t");
const lengths = ["+5", "-5", "5,5", "0x5", "5 ", "five", "", "4", "6", "99999999999999999999", "5.0"];
const connection: Line[] = [
  ...([
    ["connection", "close"],
    ["keep-alive", "1"],
    ["proxy-connection", "close"],
    ["upgrade", "h2c"],
  ] as Line[]),
  ...([
    ["transfer-encoding", "chunked"],
    ["te", "chunked"],
    ["te", "gzip"],
    ["http2-settings", "AAMAAABk"],
  ] as Line[]),
];

function refusedCases(): Http2Case[] {
  return [
    ...[...paths, ...queries].map((path) => bad(`path ${shown(path)}`, [...pseudo({ ":path": path }), to])),
    ...methods.map((method) => bad(`method ${shown(method)}`, [...pseudo({ ":method": method }), to])),
    ...[":method", ":scheme", ":path"].map((name) =>
      bad(`no ${name}`, [...pseudo({ [name]: undefined }), to]),
    ),
    ...pseudo().map((line) => bad(`two ${line[0]}`, [...pseudo(), line, to])),
    ...pseudo().map((line) => bad(`${line[0]} behind`, [...pseudo({ [line[0]]: undefined }), to, line])),
    bad("pseudo field of an answer", [...pseudo(), [":status", "200"], to]),
    bad("pseudo field of nobody", [...pseudo(), [":host", "localhost"], to]),
    ...names.map((name) => bad(`name ${shown(name)}`, [...pseudo(), to, [name, "1"]])),
    ...values.map((value) => bad(`value ${shown(value)}`, [...pseudo(), to, ["x-text", `a${value}b`]])),
    ...spoilt.map((value) =>
      bad(`authority ${shown(value)}`, [...pseudo({ ":authority": `localhost${value}` }), to]),
    ),
    ...connection.slice(0, -1).map((line) => bad(line.join(": "), [...pseudo(), to, line])),
    bad("host of another", [...pseudo(), to, ["host", "evil.example"]]),
    bad("authority of another", [...pseudo({ ":authority": "evil.example" }), to, ["host", "localhost"]]),
    bad("two hosts", [
      ...pseudo({ ":authority": undefined }),
      to,
      ["host", "localhost"],
      ["host", "evil.example"],
    ]),
    bad("no host", [...pseudo({ ":authority": undefined }), to]),
    ...lengths.map((length) =>
      bad(`length ${shown(length)}`, [...pseudo(), to, ["content-length", length]], "hello"),
    ),
    bad("two lengths", [...pseudo(), to, ["content-length", "5"], ["content-length", "6"]], "hello"),
    bad(
      "two lengths, the first wrong",
      [...pseudo(), to, ["content-length", "6"], ["content-length", "5"]],
      "hello",
    ),
    bad("length without body", [...pseudo(), to, ["content-length", "5"]]),
  ];
}

function acceptedCases(): Http2Case[] {
  return [
    { name: "plain", lines: [...pseudo(), to], body: "hello", seen: "POST /p hello" },
    {
      name: "length",
      lines: [...pseudo(), to, ["content-length", "5"]],
      body: "hello",
      seen: "POST /p hello",
    },
    {
      name: "a request as body",
      lines: [...pseudo(), to],
      body: "GET /s HTTP/1.1\r\n\r\n",
      seen: "POST /p GET /s HTTP/1.1\r\n\r\n",
    },
    { name: "a chunk as body", lines: [...pseudo(), to], body: "0\r\n\r\n", seen: "POST /p 0\r\n\r\n" },
    { name: "te: trailers", lines: [...pseudo(), to, ["te", "trailers"]], body: "x", seen: "POST /p x" },
    {
      name: "settings of an upgrade",
      lines: [...pseudo(), to, connection.at(-1) as Line],
      body: "x",
      seen: "POST /p x",
    },
    {
      name: "two names for one host",
      lines: [...pseudo(), to, ["host", "LOCALHOST"]],
      body: "x",
      seen: "POST /p x",
    },
    {
      name: "upper bytes",
      lines: [...pseudo(), to, ["x-text", "\x8d\x8a\xff"]],
      body: "x",
      seen: "POST /p x",
    },
  ];
}

/** Lines as literals without a table: what no encoder would write. */
function headerBlock(lines: Line[]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, "latin1");
    if (bytes.length > 126) throw new Error("too long for one byte");
    return Buffer.concat([Buffer.of(bytes.length), bytes]);
  };
  return Buffer.concat(lines.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

const marker = headerBlock([...pseudo({ ":method": "GET", ":path": "/marker" }), to, ["x-marker", "1"]]);

/** What the app sees of a case, until the marker behind it is there or the connection ends. */
function seenOf({ lines, body }: Http2Case, port: number): Promise<string[]> {
  const end = flag.endHeaders;
  const frames = [
    ...[clientPreface, settingsFrame([])],
    frame(frameType.headers, body === undefined ? end | flag.endStream : end, 1, headerBlock(lines)),
    ...(body === undefined ? [] : [frame(frameType.data, flag.endStream, 1, Buffer.from(body, "latin1"))]),
    frame(frameType.headers, end | flag.endStream, 3, marker),
  ];
  const seen: string[] = [];
  return new Promise((resolve) => {
    const socket = edges.sockets.connect({ host: "127.0.0.1", port });
    let isOver = false;
    socket.on("close", () => {
      isOver = true;
    });
    socket.on("end", () => socket.destroy());
    socket.on("error", () => undefined);
    socket.resume();
    socket.write(Buffer.concat(frames));
    const look = (left: number) => {
      for (const { line, body } of app.take()) seen.push(`${line.replace(/ HTTP\/1\.1$/, "")} ${body}`);
      // The case may be longer under way than the marker.
      if (seen.includes("GET /marker ") || isOver) left = Math.min(left, 20);
      if (left > 0) setImmediate(look, left - 1);
      else {
        socket.destroy();
        resolve(seen);
      }
    };
    look(10_000);
  });
}

test.each([["callee"], ["caller"]] as const)("SEC-H1: HTTP/2 to HTTP/1 by the %s", async (which) => {
  const corpus = [...refusedCases(), ...acceptedCases()];
  expect(corpus.length).toBeGreaterThanOrEqual(100);
  const wrong: string[] = [];
  for (const one of corpus) {
    const seen = await seenOf(one, runtimes[which]);
    const others = seen.filter((each) => each !== "GET /marker ");
    const isRight = JSON.stringify(others) === JSON.stringify(one.seen === undefined ? [] : [one.seen]);
    if (!isRight || (one.seen !== undefined && others.length === seen.length))
      wrong.push(`${one.name}: ${JSON.stringify(seen)}`);
  }
  expect(wrong).toEqual([]);
  expect(app.violations).toEqual([]);
});
