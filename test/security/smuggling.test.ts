// Requests that two readers might tell apart differently, through whole runtimes (security.md §4.5, SEC-H1).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { isDeepStrictEqual } from "node:util";
import { type SimulatedEdges, simulatedEdges } from "../../src/edges/simulated.ts";
import { FixtureSocket } from "../../src/net/http1/fixture-socket.ts";
import { until } from "../../src/testing/index.ts";
import { type RecordedMessage, type RecordingApp, recordingApp } from "./recording-app.ts";
import { openRuntimes, type SimulatedRuntimes } from "./simulated-runtimes.ts";
import { type SmugglingCase, smugglingCases } from "./smuggling-corpus.ts";

const appPort = 8080;
let edges: SimulatedEdges;
let app: RecordingApp;
let runtimes: SimulatedRuntimes;

beforeAll(async () => {
  edges = simulatedEdges(1);
  app = await recordingApp(edges.sockets, appPort);
  runtimes = await openRuntimes(edges, appPort);
  for (const port of [runtimes.callee, runtimes.caller]) {
    await until(async () => (await send(port, marker(0), 1)).statuses[0] === 200, "the app to be found");
  }
  app.take();
});

afterAll(async () => {
  await runtimes.close();
  await app.close();
});

interface Outcome {
  statuses: number[];
  /** Which request each answer is to. */
  answers: string[];
  isEnded: boolean;
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const marker = (id: number) =>
  `GET /marker HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: callee\r\nx-marker: ${id}\r\n\r\n`;

/** How many answers are due before a connection that is not ended is done. */
const dueOf = (one: SmugglingCase) => (one.isRefused ? Number.POSITIVE_INFINITY : one.seen.length + 1);

function outcomeOf(received: string): Omit<Outcome, "isEnded"> {
  const statuses = [...received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
  const answers = [...received.matchAll(/^x-answers: (.*)\r$/gim)].map(([, of]) => of as string);
  return { statuses, answers };
}

/** Sends bytes; ends with the connection, or with the number of answers that are due. */
function send(port: number, bytes: string, answersDue: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let received = "";
    const socket = edges.sockets.connect({ host: "127.0.0.1", port });
    const finish = (isEnded: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ ...outcomeOf(received), isEnded });
    };
    // For a runtime that hangs alone: what came until then is then not what is wanted.
    const timer = setTimeout(() => finish(false), 3_000);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      if (outcomeOf(received).statuses.length >= answersDue) finish(false);
    });
    socket.on("error", () => finish(true));
    socket.on("end", () => finish(true));
    socket.write(Buffer.from(bytes, "latin1"));
  });
}

const summary = ({ line, body }: RecordedMessage) => `${line.replace(/ HTTP\/1\.1$/, "")} ${body}`;

/** Nothing when the app saw exactly what it had to, and each answer is to its own request; else what happened. */
async function verdict(
  one: SmugglingCase,
  id: number,
  run: () => Promise<Outcome>,
  how = "whole",
): Promise<string> {
  const outcome = await run();
  const seen = app.take().map(summary);
  const { statuses, answers, isEnded } = outcome;
  const isRefused = seen.length === 0 && statuses.length === 1 && (statuses[0] as number) >= 400 && isEnded;
  if (one.isRefused && isRefused) return "";
  const isSeen = isDeepStrictEqual(seen, [...one.seen, "GET /marker "]);
  const isAnswered = isDeepStrictEqual(answers, [...one.seen.map(() => "none"), String(id)]);
  if (!one.isRefused && isSeen && isAnswered) return "";
  return `${one.name}, ${how}: ${JSON.stringify({ bytes: one.bytes, outcome, seen })}`;
}

test("SEC-H1: the corpus has at least 400 different cases", () => {
  expect(smugglingCases.length).toBeGreaterThanOrEqual(800);
});

test.each([
  ["app", "callee"],
  ["peer", "caller"],
] as const)(
  "SEC-H1: whole, with a marker behind: the %s sees nothing or the canonical message",
  async (_, at) => {
    const port = runtimes[at];
    const wrong: string[] = [];
    for (const [id, one] of smugglingCases.entries()) {
      wrong.push(await verdict(one, id, () => send(port, one.bytes + marker(id), dueOf(one))));
    }
    expect(wrong.filter(Boolean)).toEqual([]);
    expect(app.violations).toEqual([]);
  },
);

/** Pushes pieces into the runtime as its sockets would: nothing is merged on the way. */
async function push(one: SmugglingCase, pieces: readonly string[]): Promise<Outcome> {
  const socket = new FixtureSocket();
  runtimes.accept(runtimes.callee, socket.asSocket());
  for (const piece of pieces) if (!socket.destroyed) socket.push(Buffer.from(piece, "latin1"));
  for (let i = 0; i < 10_000 && !socket.isEnded && outcomeOf(socket.sent).statuses.length < dueOf(one); i++) {
    await turn();
  }
  const { isEnded } = socket;
  socket.destroy();
  return { ...outcomeOf(socket.sent), isEnded };
}

test("SEC-H1: byte by byte, and split in two at each byte", async () => {
  const wrong: string[] = [];
  let count = 0;
  for (const [id, one] of smugglingCases.entries()) {
    const bytes = one.bytes + marker(id);
    // Long cases are long by repetition.
    const points = Array.from({ length: bytes.length - 1 }, (_, i) => i + 1).filter(
      (i) => i < 400 || i > bytes.length - 100,
    );
    for (const at of [0, ...points]) {
      const pieces = at === 0 ? Array.from(bytes) : [bytes.slice(0, at), bytes.slice(at)];
      wrong.push(await verdict(one, id, () => push(one, pieces), `split at ${at}`));
      count++;
    }
  }
  expect(wrong.filter(Boolean).slice(0, 20)).toEqual([]);
  expect(app.violations).toEqual([]);
  expect(count).toBeGreaterThan(150_000);
}, 120_000);
