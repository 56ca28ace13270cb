import { afterEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { ConnectError, ConnectionLost, RequestAborted } from "../http1/errors.ts";
import type { HttpHandler, HttpReply } from "../http1/types.ts";
import { Peers } from "./fixture-peers.ts";

let peers = new Peers();
afterEach(async () => {
  await peers.end();
  peers = new Peers();
});

const get = (target: string) => ({ method: "GET", target, headers: [] });
const echo: HttpHandler = async ({ target, rawHeaders, body }) => ({
  status: 200,
  reason: "Fine",
  headers: ["X-Target", target, ...rawHeaders],
  body: await body.bytes(1 << 20),
});

/** Replies when it is told to. */
function held(): { handler: HttpHandler; arrived: string[]; release(): void } {
  const arrived: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const handler: HttpHandler = async ({ target }) => {
    arrived.push(target);
    await promise;
    return { status: 200, headers: [], body: target };
  };
  return { handler, arrived, release: resolve };
}

test("calls that are under way together share one connection", async () => {
  const { handler, arrived, release } = held();
  const peer = await peers.start(handler);
  const client = peers.client();
  const asked = Array.from({ length: 100 }, (_, n) => client.request(peer.address, get(`/${n}`)));
  await until(() => arrived.length === 100);
  release();
  const texts = await Promise.all(asked.map(async (one) => textOf(await one)));
  expect(texts).toEqual(Array.from({ length: 100 }, (_, n) => `/${n}`));
  expect(peer.carriers).toHaveLength(1);
  expect(peer.http.connectionCount).toBe(100);
});

test("a message passes as it would on a connection of its own", async () => {
  const peer = await peers.start(echo);
  const client = peers.client();
  const headers = ["X-MiXed", "Case", "x-twice", "1", "x-twice", "2", "x-latin", "\u00e4"];
  const answer = await client.request(peer.address, {
    ...{ method: "POST", target: "/a%2Fb?c=%20", headers, body: "text" },
  });
  expect([answer.status, answer.reason, await textOf(answer)]).toEqual([200, "Fine", "text"]);
  expect(answer.rawHeaders.slice(0, 2)).toEqual(["X-Target", "/a%2Fb?c=%20"]);
  expect(answer.rawHeaders.join("|")).toContain(headers.join("|"));
});

test("a body of 50 MB comes back whole while others are answered", async () => {
  const peer = await peers.start(({ target, body }) => ({
    ...{ status: 200, headers: [], body: target === "/small" ? "small" : body },
  }));
  const client = peers.client();
  const sent = createHash("sha1");
  const pieces = async function* () {
    for (let n = 0; n < 800; n++) {
      const piece = Buffer.alloc(65_536, n);
      sent.update(piece);
      yield piece;
    }
  };
  const answer = await client.request(peer.address, { ...get("/large"), method: "POST", body: pieces() });
  const received = createHash("sha1");
  let small = 0;
  for await (const chunk of answer.body) {
    received.update(chunk);
    if (++small <= 20) expect(await textOf(await client.request(peer.address, get("/small")))).toBe("small");
  }
  expect(received.digest("hex")).toBe(sent.digest("hex"));
  expect(peer.carriers).toHaveLength(1);
});

test("a reader that stops holds up its own sender, and nobody else", async () => {
  let made = 0;
  const endless = async function* () {
    for (;;) {
      made += 65_536;
      yield Buffer.alloc(65_536);
    }
  };
  const peer = await peers.start(({ target }) => ({
    ...{ status: 200, headers: [], body: target === "/endless" ? endless() : "small" },
  }));
  const client = peers.client();
  const answer = await client.request(peer.address, get("/endless"));
  const reader = answer.body[Symbol.asyncIterator]();
  await reader.next();
  let before = -1;
  await until(async () => {
    const isStill = made === before;
    before = made;
    await textOf(await client.request(peer.address, get("/small")));
    await new Promise((resolve) => setTimeout(resolve, 20));
    return isStill;
  });
  expect(made).toBeLessThan(2 << 20);
  await reader.return?.();
});

test("small pieces that wait for their reader come as they were written", async () => {
  const lines = Array.from({ length: 3000 }, (_, n) => `${n} `.padEnd(1000, "."));
  let made = 0;
  const peer = await peers.start(() => ({
    status: 200,
    headers: [],
    body: (async function* () {
      for (const line of lines) {
        made++;
        yield Buffer.from(line);
      }
    })(),
  }));
  const { body } = await peers.client().request(peer.address, get("/"));
  let before = 0;
  await until(async () => {
    const isStill = made === before;
    before = made;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return isStill;
  });
  expect(made).toBeLessThan(lines.length);
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  expect(Buffer.concat(pieces).toString() === lines.join("")).toBe(true);
});

test("a call that is given up is told to the peer, and others go on", async () => {
  const aborted = new Set<string>();
  const { handler, arrived, release } = held();
  const peer = await peers.start((request) => {
    request.signal.addEventListener("abort", () => aborted.add(request.target));
    return handler(request);
  });
  const client = peers.client();
  const leaving = new AbortController();
  const left = client
    .request(peer.address, { ...get("/leaves"), signal: leaving.signal })
    .catch((error) => error);
  const stays = client.request(peer.address, get("/stays"));
  await until(() => arrived.length === 2);
  leaving.abort();
  expect(await left).toBeInstanceOf(RequestAborted);
  await until(() => aborted.size === 1);
  release();
  expect(await textOf(await stays)).toBe("/stays");
  expect([...aborted]).toEqual(["/leaves"]);
});

test("an older peer is spoken to on connections of their own", async () => {
  const { handler, arrived, release } = held();
  const peer = await peers.start(handler, { protocols: ["h2", "http/1.1"] });
  const client = peers.client();
  const asked = ["/1", "/2", "/3"].map((target) => client.request(peer.address, get(target)));
  await until(() => arrived.length === 3);
  release();
  expect(await Promise.all(asked.map(async (one) => textOf(await one)))).toEqual(["/1", "/2", "/3"]);
  const { length } = peer.carriers;
  expect(await textOf(await client.request(peer.address, get("/4")))).toBe("/4");
  expect(peer.carriers).toHaveLength(length);
});

test("a peer that ends a trunk before it began gets to say why on a connection of its own", async () => {
  const refusal: HttpHandler = () => ({ status: 403, headers: [], body: "not you" });
  const peer = await peers.start(refusal, { onTrunk: (carrier) => carrier.destroy() });
  const answer = await peers.client().request(peer.address, get("/"));
  expect([answer.status, await textOf(answer)]).toEqual([403, "not you"]);
});

test("whoever is judged not to be the peer is sent nothing", async () => {
  const peer = await peers.start(echo);
  const verify = (): never => {
    throw new Error("somebody else");
  };
  const address = { ...peer.address, tls: { ...peer.address.tls, verify } };
  const error = await peers
    .client()
    .request(address, get("/"))
    .catch((reason) => reason);
  expect(error).toBeInstanceOf(ConnectError);
  expect(error.message).toContain("somebody else");
  expect(peer.http.connectionCount).toBe(0);
});

test("a peer that closes answers what it has, and what comes later reaches nobody", async () => {
  const { handler, arrived, release } = held();
  const peer = await peers.start(handler);
  const client = peers.client();
  const first = client.request(peer.address, get("/first"));
  await until(() => arrived.length === 1);
  const closed = peer.close(5000);
  // The first of them crosses the news that the peer closes.
  for (const target of ["/crosses", "/later"]) {
    const refused = await client.request(peer.address, get(target)).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ConnectError);
  }
  release();
  expect(await textOf(await first)).toBe("/first");
  await closed;
  expect(arrived).toEqual(["/first"]);
});

test("calls that go on while the peer is started again and again lose nothing", async () => {
  let handled = 0;
  const handler: HttpHandler = () => {
    handled++;
    return { status: 200, headers: [], body: "ok" };
  };
  let peer = await peers.start(handler);
  const client = peers.client();
  const { address } = peer;
  const counts = { answered: 0, unreached: 0, lost: 0 };
  let isOver = false;
  const callAgainAndAgain = async (): Promise<void> => {
    while (!isOver) {
      await client.request(address, get("/")).then(
        async (answer) => {
          await textOf(answer);
          counts.answered++;
        },
        (error) => {
          if (error instanceof ConnectError) counts.unreached++;
          else counts.lost++;
        },
      );
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const callers = Array.from({ length: 20 }, callAgainAndAgain);
  for (let n = 0; n < 10; n++) {
    const before = counts.answered;
    await until(() => counts.answered > before + 100);
    await peer.close(2000);
    peer = await peers.start(handler, { port: address.port });
  }
  isOver = true;
  await Promise.all(callers);
  expect([counts.lost, handled]).toEqual([0, counts.answered]);
});

test("a trunk that is lost takes its calls with it, and the next call opens another", async () => {
  const { handler, arrived, release } = held();
  const peer = await peers.start(handler);
  const client = peers.client();
  const asked = ["/1", "/2"].map((target) =>
    client.request(peer.address, get(target)).catch((error: unknown) => error),
  );
  await until(() => arrived.length === 2);
  release();
  peer.carriers[0]?.destroy();
  for (const error of await Promise.all(asked)) expect(error).toBeInstanceOf(ConnectionLost);
  expect(await textOf(await client.request(peer.address, get("/3")))).toBe("/3");
  expect(peer.carriers).toHaveLength(2);
});

test("a trunk that answers nothing is given up, and the next call opens another", async () => {
  let isSilent = true;
  const peer = await peers.start(echo, {
    onTrunk: (carrier) => {
      carrier.on("error", () => {});
      carrier.resume();
      if (!isSilent) carrier.destroy();
    },
  });
  const client = peers.client({ connectTimeoutMs: 100 });
  const error = await client.request(peer.address, get("/")).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConnectError);
  isSilent = false;
  expect((await client.request(peer.address, get("/"))).status).toBe(200);
  await until(() => peer.carriers[0]?.destroyed === true);
});

test("a trunk that is not used is closed", async () => {
  const peer = await peers.start(echo);
  const client = peers.client({ idleTimeoutMs: 50 });
  await textOf(await client.request(peer.address, get("/")));
  await until(() => peer.carriers[0]?.destroyed === true);
});

test("a change of protocols takes one channel over", async () => {
  const taken: Socket[] = [];
  const peer = await peers.start(({ target }): HttpReply => {
    if (target === "/plain") return { status: 200, headers: [], body: "plain" };
    return {
      status: 101,
      headers: ["Connection", "Upgrade", "Upgrade", "echo"],
      takeOver: (socket) => {
        taken.push(socket as Socket);
        socket.pipe(socket);
      },
    };
  });
  const client = peers.client();
  const headers = ["Connection", "Upgrade", "Upgrade", "echo"];
  const { status, upgrade } = await client.request(peer.address, { ...get("/upgrade"), headers });
  expect(status).toBe(101);
  const socket = upgrade?.socket as Socket;
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.write("x".repeat(1 << 20));
  expect(await textOf(await client.request(peer.address, get("/plain")))).toBe("plain");
  await until(() => text.length === 1 << 20);
  socket.end();
  await until(() => taken[0]?.destroyed === true && socket.destroyed);
  expect(peer.carriers).toHaveLength(1);
});

async function until(isTrue: () => boolean | Promise<boolean>, deadlineMs = 5000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`waited ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function textOf({ body }: { body: { bytes(limit: number): Uint8Array | Promise<Uint8Array> } }) {
  return Buffer.from(await body.bytes(1 << 20)).toString();
}
