// An app, or whoever sits behind its port, that answers so that an answer might reach somebody else (security.md §4.5, SEC-H4).
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Socket } from "node:net";
import { type SimulatedEdges, simulatedEdges } from "../../src/edges/simulated.ts";
import { createHttpClient, type HttpClient } from "../../src/net/http1/index.ts";
import { until } from "../../src/testing/index.ts";
import { openRuntimes, type SimulatedRuntimes } from "./simulated-runtimes.ts";

const appPort = 8080;
let edges: SimulatedEdges;
let runtimes: SimulatedRuntimes;
let client: HttpClient;

type Answer = (socket: Socket, nonce: string) => void;

const reply = (nonce: string, body = nonce, fields = "") =>
  `HTTP/1.1 200 OK\r\nx-nonce: ${nonce}\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
const poison = reply("poison");
const later = (act: () => void, turns = 3): void => {
  if (turns === 0) act();
  else setImmediate(() => later(act, turns - 1));
};

/** Ways to answer; the body of a right answer is the nonce of its request. */
const ways: Record<string, Answer> = {
  honest: (socket, nonce) => socket.write(reply(nonce)),
  "two answers at once": (socket, nonce) => socket.write(reply(nonce) + poison),
  "a second answer later": (socket, nonce) => {
    socket.write(reply(nonce));
    later(() => socket.write(poison));
  },
  // While nobody waits for one; on a connection that has got its next request it could not be told apart.
  "a second answer much later": (socket, nonce) => {
    socket.write(reply(nonce));
    later(() => socket.write(poison), 50);
  },
  "half an answer behind": (socket, nonce) =>
    socket.write(`${reply(nonce)}HTTP/1.1 200 OK\r\nx-nonce: poison\r\n`),
  "one byte behind": (socket, nonce) => socket.write(`${reply(nonce)}H`),
  "line ends behind": (socket, nonce) => socket.write(`${reply(nonce)}\r\n\r\n`),
  "length too short": (socket, nonce) =>
    socket.write(reply(nonce).replace(/Content-Length: \d+/, `Content-Length: ${nonce.length - 2}`)),
  "length too long": (socket, nonce) => {
    socket.write(reply(nonce).replace(/Content-Length: \d+/, `Content-Length: ${nonce.length + 200}`));
    later(() => socket.write(poison));
    later(() => socket.destroy(), 6);
  },
  "two lengths": (socket, nonce) => socket.write(reply(nonce, nonce, "Content-Length: 3\r\n")),
  "length and chunks": (socket, nonce) =>
    socket.write(reply(nonce, `0\r\n\r\n${poison}`, "Transfer-Encoding: chunked\r\n")),
  "an unknown coding": (socket, nonce) =>
    socket.write(reply(nonce, `0\r\n\r\n${poison}`, "Transfer-Encoding: xchunked\r\n")),
  "a chunk and an answer": (socket, nonce) =>
    socket.write(
      `HTTP/1.1 200 OK\r\nx-nonce: ${nonce}\r\nTransfer-Encoding: chunked\r\n\r\n${nonce.length.toString(16)}\r\n${nonce}\r\n0\r\n\r\n${poison}`,
    ),
  "a wrong chunk": (socket, nonce) =>
    socket.write(`HTTP/1.1 200 OK\r\nx-nonce: ${nonce}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${poison}`),
  "204 with a body": (socket, nonce) =>
    socket.write(
      `HTTP/1.1 204 No Content\r\nx-nonce: ${nonce}\r\nContent-Length: ${poison.length}\r\n\r\n${poison}`,
    ),
  "304 with a body": (socket, nonce) =>
    socket.write(`HTTP/1.1 304 Not Modified\r\nx-nonce: ${nonce}\r\nContent-Length: 5\r\n\r\n${poison}`),
  "interim answers": (socket, nonce) =>
    socket.write(
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-nonce: poison\r\n\r\n${reply(nonce)}`,
    ),
  "an interim answer behind": (socket, nonce) => socket.write(`${reply(nonce)}HTTP/1.1 100 Continue\r\n\r\n`),
  "a switch nobody asked for": (socket, nonce) =>
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nx-nonce: ${nonce}\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n${poison}`,
    ),
  "a broken head": (socket) => socket.write(`HTTP/1.1 200 OK\r\nx-nonce : poison\r\n\r\n${poison}`),
  "a folded head": (socket) =>
    socket.write(`HTTP/1.1 200 OK\r\nx-nonce:\r\n poison\r\nContent-Length: 0\r\n\r\n${poison}`),
  "a bare line end": (socket) =>
    socket.write(`HTTP/1.1 200 OK\nx-nonce: poison\nContent-Length: 0\n\n${poison}`),
  nothing: (socket) => socket.destroy(),
};

beforeAll(async () => {
  edges = simulatedEdges(1);
  const onConnection = (socket: Socket) => {
    let held = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      held += chunk.toString("latin1");
      const end = held.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = held.slice(0, end);
      held = held.slice(end + 4);
      const nonce = /x-nonce: (\S+)/i.exec(head)?.[1];
      if (nonce === undefined) socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
      else (ways[decodeURIComponent(/x-way: (\S+)/i.exec(head)?.[1] ?? "")] as Answer)(socket, nonce);
    });
  };
  await edges.sockets.listen({ host: "127.0.0.1", port: appPort }, { onConnection });
  runtimes = await openRuntimes(edges, appPort);
  client = createHttpClient({ sockets: edges.sockets, maxSocketsPerAddress: 64 });
  for (const port of [runtimes.callee, runtimes.caller]) {
    await until(async () => (await ask(port, "honest", "start")).status === 200, "the app to be found");
  }
});

afterAll(async () => {
  client.close();
  await runtimes.close();
});

async function ask(port: number, way: string, nonce: string, method = "GET") {
  const headers = ["x-nonce", nonce, "x-way", encodeURIComponent(way)];
  const address = { host: "127.0.0.1", port };
  const target = "/v1.0/invoke/callee/method/x";
  try {
    const response = await client.request(address, { method, target, headers, timeoutMs: 10_000 });
    const told = response.header("x-nonce");
    const body = await response.body.bytes(100_000);
    return { status: response.status, told, body: Buffer.from(body).toString("latin1") };
  } catch (error) {
    return { status: 0, told: undefined, body: String(error) };
  }
}

/** Whether an answer holds anything that was meant for another request, or for none. */
function isCrossed(answer: Awaited<ReturnType<typeof ask>>, nonce: string): boolean {
  if (answer.told !== undefined && answer.told !== nonce) return true;
  const nonces = answer.body.match(/nonce-\d+/g) ?? [];
  return nonces.some((one) => !nonce.startsWith(one));
}

const late = ["a second answer later", "a second answer much later"];

test.each([["callee"], ["caller"]] as const)(
  "SEC-H4: late bytes on an idle connection end it, through the %s",
  async (which) => {
    for (let round = 0; round < 100; round++) {
      await ask(runtimes[which], late[round % 2] as string, `nonce-late-${round}`);
      await new Promise<void>((resolve) => later(resolve, 120));
      const nonce = `nonce-${round}`;
      expect(await ask(runtimes[which], "honest", nonce)).toEqual({ status: 200, told: nonce, body: nonce });
    }
  },
);

test.each([["callee"], ["caller"]] as const)(
  "SEC-H4: 0 crossed answers of 2,000 through the %s",
  async (which) => {
    const names = Object.keys(ways).filter((name) => !late.includes(name));
    const crossed: string[] = [];
    let honest = 0;
    let count = 0;
    for (let round = 0; round < 50; round++) {
      // Each bad answer is followed by honest ones, which get its connection when it is kept.
      const batch = Array.from({ length: 40 }, (_, i) =>
        i % 2 === 0 ? (names[(round * 20 + i / 2) % names.length] as string) : "honest",
      );
      await Promise.all(
        batch.map(async (way, i) => {
          const nonce = `nonce-${++count}`;
          const method = i % 7 === 0 ? "HEAD" : i % 5 === 0 ? "POST" : "GET";
          const answer = await ask(runtimes[which], way, nonce, method);
          if (isCrossed(answer, nonce)) crossed.push(`${way}: ${JSON.stringify({ nonce, ...answer })}`);
          if (way === "honest" && answer.status === 200 && answer.told === nonce) honest++;
        }),
      );
    }
    expect(count).toBe(2_000);
    expect(crossed).toEqual([]);
    expect(honest).toBeGreaterThanOrEqual(1_000);
  },
);
