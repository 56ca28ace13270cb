import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bedOf, type Lines, quiet, statusOf, textOf } from "./fixture-cache.ts";
import { MemoryStore } from "./memory-store.ts";
import type { CacheReply } from "./reply.ts";
import { type KeyValues, SharedStore } from "./shared-store.ts";

const encoder = new TextEncoder();

function answer(body: string, headers: Lines = {}, status = 200): CacheReply {
  return { status, headers: Object.entries(headers).flat(), body: encoder.encode(body) };
}

const fresh = { "Cache-Control": "max-age=60" };
const ticks = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i++) await Promise.resolve();
};

describe("a cache", () => {
  test("asks about what is stale with both validators, and takes what a 304 says", async () => {
    const bed = bedOf(({ header }) =>
      header("if-none-match") === undefined
        ? answer("one", {
            ...fresh,
            ETag: '"a"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "X-N": "1",
          })
        : answer("", { "Cache-Control": "max-age=600", "X-N": "2" }, 304),
    );
    await bed.ask();
    bed.passMs(61_000);
    const second = await bed.ask();
    expect([textOf(second), statusOf(second)]).toEqual(["one", "fwd=stale; fwd-status=304; stored"]);
    expect(second.headers.join(" ")).toContain("X-N 2");
    expect(bed.sent[1]?.header("if-modified-since")).toBe("Thu, 01 Jan 2026 00:00:00 GMT");
    bed.passMs(599_000);
    expect(statusOf(await bed.ask())).toBe("hit; ttl=1");
  });

  test("asks again without a condition when a 304 is about something else", async () => {
    const bed = bedOf(({ header }) =>
      header("if-none-match") === undefined
        ? answer(`v${bed.sent.length}`, { ...fresh, ETag: `"${bed.sent.length}"` })
        : answer("", { ETag: '"x"' }, 304),
    );
    await bed.ask();
    bed.passMs(61_000);
    expect(textOf(await bed.ask())).toBe("v3");
  });

  test("passes a caller's conditions on when it has nothing, and keeps no 304", async () => {
    const bed = bedOf(({ header }) =>
      header("if-none-match") === undefined ? answer("one", fresh) : answer("", fresh, 304),
    );
    expect((await bed.ask({ "If-None-Match": '"a"' })).status).toBe(304);
    expect(textOf(await bed.ask())).toBe("one");
  });

  test.each([500, 502, 503, 504])(
    "serves a stale answer instead of %d, and the failure when it may not",
    async (status) => {
      let isDown = false;
      const bed = bedOf(() => (isDown ? answer("down", {}, status) : answer("one", fresh)), {
        spec: { staleIfErrorMs: 10_000 },
      });
      await bed.ask();
      isDown = true;
      bed.passMs(65_000);
      const stale = await bed.ask();
      expect([stale.status, textOf(stale), statusOf(stale)]).toEqual([
        200,
        "one",
        `fwd=uri-miss; fwd-status=${status}`.replace("uri-miss", "stale"),
      ]);
      bed.passMs(10_000);
      expect((await bed.ask()).status).toBe(status);
      expect(bed.meter.counts.stale).toBe(1);
    },
  );

  test("a 404 is an answer, not an error to stand in for", async () => {
    let status = 200;
    const bed = bedOf(() => answer("x", fresh, status), { spec: { staleIfErrorMs: 10_000 } });
    await bed.ask();
    status = 404;
    bed.passMs(61_000);
    expect((await bed.ask()).status).toBe(404);
  });

  test("drops what it had when the new answer is not to be kept", async () => {
    const bed = bedOf(() => answer("x", bed.sent.length > 1 ? { "Cache-Control": "no-store" } : fresh));
    await bed.ask();
    bed.passMs(61_000);
    await bed.ask();
    expect(statusOf(await bed.ask())).toBe("fwd=uri-miss");
  });

  test("refreshes once behind the backs of many", async () => {
    const held = Promise.withResolvers<void>();
    const bed = bedOf(
      async () => {
        if (bed.sent.length > 1) await held.promise;
        return answer(`v${bed.sent.length}`, fresh);
      },
      { spec: { staleWhileRevalidateMs: 10_000 } },
    );
    await bed.ask();
    bed.passMs(61_000);
    const texts = await Promise.all(Array.from({ length: 10 }, () => bed.ask().then(textOf)));
    expect([new Set(texts), bed.sent.length]).toEqual([new Set(["v1"]), 2]);
    held.resolve();
    await ticks();
    expect(textOf(await bed.ask())).toBe("v2");
  });

  test("a refresh that fails leaves the stale answer, and the next request tries again", async () => {
    const bed = bedOf(
      () => {
        if (bed.sent.length > 1) throw new Error("down");
        return answer("v1", fresh);
      },
      { spec: { staleWhileRevalidateMs: 10_000 } },
    );
    await bed.ask();
    bed.passMs(61_000);
    expect(textOf(await bed.ask())).toBe("v1");
    await ticks();
    expect(textOf(await bed.ask())).toBe("v1");
    expect(bed.sent.length).toBe(3);
  });

  test.each(["POST", "PUT", "PATCH", "DELETE"])("%s that went well makes its path untrue", async (method) => {
    const bed = bedOf(() => answer("x", fresh));
    await bed.ask();
    await bed.ask({}, { method });
    expect(statusOf(await bed.ask())).toContain("uri-miss");
  });

  test.each(["OPTIONS", "TRACE"])("%s changes nothing", async (method) => {
    const bed = bedOf(() => answer("x", fresh));
    await bed.ask();
    await bed.ask({}, { method });
    expect(statusOf(await bed.ask())).toContain("hit");
  });

  test("a write that failed changes nothing", async () => {
    const bed = bedOf(({ method }) => answer("x", fresh, method === "POST" ? 409 : 200));
    await bed.ask();
    await bed.ask({}, { method: "POST" });
    expect(statusOf(await bed.ask())).toContain("hit");
  });

  test("an answer that was on its way while its path was written is not kept", async () => {
    const held = Promise.withResolvers<void>();
    const bed = bedOf(async ({ method }) => {
      if (method === "GET" && bed.sent.length === 1) await held.promise;
      return answer("x", fresh);
    });
    const early = bed.ask();
    await bed.ask({}, { method: "POST" });
    held.resolve();
    await early;
    expect(statusOf(await bed.ask())).toContain("uri-miss");
  });

  const beyond: Lines[] = [
    { Range: "bytes=0-1" },
    { "If-Match": '"a"' },
    { "If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT" },
    { Upgrade: "websocket" },
  ];
  test.each(beyond)("%p goes by", async (headers) => {
    const bed = bedOf(() => answer("x", fresh));
    await bed.ask();
    expect(statusOf(await bed.ask(headers))).toBe("fwd=bypass");
    expect(bed.sent.length).toBe(2);
  });

  test("with a ttl of the policy requests of a person go by", async () => {
    const bed = bedOf(() => answer("x"), { spec: { ttlMs: 60_000 } });
    await bed.ask();
    expect(statusOf(await bed.ask({ Authorization: "Bearer x" }))).toBe("fwd=bypass");
  });

  test("callers without a say get what is kept", async () => {
    const bed = bedOf(() => answer("x", fresh), { spec: { ignoreRequestCacheControl: true } });
    await bed.ask();
    expect(statusOf(await bed.ask({ "Cache-Control": "no-cache" }))).toBe("hit; ttl=60");
  });

  test("a body that is longer than allowed goes through as it comes", async () => {
    let read = 0;
    async function* pieces() {
      for (let i = 0; i < 10; i++) {
        read++;
        yield new Uint8Array(300);
      }
    }
    const bed = bedOf(() => ({ status: 200, headers: Object.entries(fresh).flat(), body: pieces() }));
    const reply = await bed.ask();
    expect(read).toBeLessThan(6);
    let size = 0;
    for await (const piece of reply.body as AsyncIterable<Uint8Array>) size += piece.length;
    expect([size, statusOf(await bed.ask())]).toEqual([3000, "fwd=uri-miss"]);
  });

  test("HEAD that tells of another answer makes it untrue", async () => {
    const bed = bedOf(({ method }) =>
      method === "HEAD"
        ? answer("", { ETag: '"b"' })
        : answer("one", { "Cache-Control": "max-age=1", ETag: '"a"' }),
    );
    await bed.ask();
    bed.passMs(2000);
    await bed.ask({}, { method: "HEAD" });
    await bed.ask();
    expect(bed.sent[2]?.header("if-none-match")).toBeUndefined();
  });

  test("is the last resort with what it has, however old, unless that is forbidden", async () => {
    const bed = bedOf(() => answer("one", fresh));
    const { cache } = bed;
    const request = { method: "GET", target: "/", rawHeaders: [], header: () => undefined, hasBody: false };
    const signal = new AbortController().signal;
    expect(await cache.lastResort({ ...request, signal })).toBeUndefined();
    await bed.ask();
    bed.passMs(86_400_000);
    const last = await cache.lastResort({ ...request, signal });
    expect(last && [textOf(last), statusOf(last)]).toEqual(["one", "hit; ttl=-86340; detail=fallback"]);
  });
});

describe("collapsing", () => {
  test("a thousand who ask at once are one call", async () => {
    const bed = bedOf(
      async () => {
        await ticks();
        return answer("x", fresh);
      },
      { collapses: true },
    );
    const replies = await Promise.all(Array.from({ length: 1000 }, () => bed.ask()));
    expect([bed.sent.length, new Set(replies.map(textOf))]).toEqual([1, new Set(["x"])]);
    expect(bed.meter.counts).toMatchObject({ miss: 1, collapsed: 999 });
  });

  test("an answer for one caller is not given to those who waited", async () => {
    const bed = bedOf(
      async () => {
        const own = bed.sent.length;
        await ticks();
        return answer(`for ${own}`, { "Cache-Control": "private" });
      },
      { collapses: true },
    );
    const texts = await Promise.all(Array.from({ length: 5 }, () => bed.ask().then(textOf)));
    expect(new Set(texts).size).toBe(5);
  });

  test("callers with other authorizations do not wait for each other", async () => {
    const bed = bedOf(
      async () => {
        await ticks();
        return answer("x", { "Cache-Control": "public, max-age=60" });
      },
      { collapses: true },
    );
    await Promise.all(["a", "b", "a"].map((who) => bed.ask({ Authorization: who })));
    expect(bed.sent.length).toBe(2);
  });

  test("after a failure one of those who waited leads, three in a row at most", async () => {
    const bed = bedOf(
      async () => {
        const own = bed.sent.length;
        await ticks();
        throw new Error(`failure ${own}`);
      },
      { collapses: true },
    );
    const errors = await Promise.all(
      Array.from({ length: 50 }, () => bed.ask().catch((error) => error.message)),
    );
    expect([bed.sent.length, new Set(errors)]).toEqual([3, new Set(["failure 1", "failure 2", "failure 3"])]);
  });

  test("a leader who leaves does not end the call; the last who leaves does", async () => {
    const held = Promise.withResolvers<void>();
    let upstream: AbortSignal | undefined;
    const bed = bedOf(
      async (_, signal) => {
        upstream = signal;
        await held.promise;
        return answer("x", fresh);
      },
      { collapses: true },
    );
    const [first, second] = [new AbortController(), new AbortController()];
    const leader = bed.ask({}, { signal: first.signal }).catch(() => "left");
    const follower = bed.ask({}, { signal: second.signal }).catch(() => "left");
    await ticks();
    first.abort();
    expect(await leader).toBe("left");
    expect(upstream?.aborted).toBe(false);
    second.abort();
    expect([await follower, upstream?.aborted]).toEqual(["left", true]);
    held.resolve();
  });
});

test("memory holds what fits, and lets the longest unused go", async () => {
  const store = new MemoryStore(10_000);
  const bed = bedOf(() => answer("x".repeat(900), fresh), { store });
  for (let i = 0; i < 100; i++) {
    await bed.ask({}, { target: `/${i}` });
    await bed.ask({}, { target: "/0" });
    expect(store.size().bytes).toBeLessThanOrEqual(10_000);
  }
  expect(statusOf(await bed.ask({}, { target: "/0" }))).toContain("hit");
  expect(statusOf(await bed.ask({}, { target: "/1" }))).toContain("uri-miss");
});

describe("in a state store", () => {
  function shared(values: Map<string, Uint8Array>, more: Partial<KeyValues> = {}) {
    const keyValues: KeyValues = {
      get: async (keys) => keys.map((key) => values.get(key)),
      set: async (key, value) => void values.set(key, value),
      delete: async (key) => void values.delete(key),
      ...more,
    };
    return (bed: { clock: ReturnType<typeof bedOf>["clock"] }) =>
      new SharedStore({
        keyValues: () => keyValues,
        ...{ timeoutMs: 100, clock: bed.clock, log: quiet, failed: () => {} },
        random: { uuid: () => crypto.randomUUID() } as never,
      });
  }

  function sharedBed(values: Map<string, Uint8Array>, more: Partial<KeyValues> = {}, tags = "") {
    const store = { current: undefined as SharedStore | undefined };
    const proxy = {
      get: (key: string) => store.current?.get(key),
      put: (...given: Parameters<SharedStore["put"]>) => store.current?.put(...given),
      delete: (key: string) => store.current?.delete(key),
      purge: async (purge: Parameters<SharedStore["purge"]>[0]) => store.current?.purge(purge),
      size: () => undefined,
    };
    const bed = bedOf(() => answer("one", { ...fresh, Vary: "accept" }), { store: proxy, spec: { tags } });
    store.current = shared(values, more)(bed);
    return bed;
  }

  test("what one keeps another finds, body and variants", async () => {
    const values = new Map<string, Uint8Array>();
    const [one, other] = [sharedBed(values), sharedBed(values)];
    await one.ask({ accept: "a" });
    await ticks();
    const found = await other.ask({ accept: "a" });
    expect([textOf(found), statusOf(found)]).toEqual(["one", "hit; ttl=60"]);
    expect(statusOf(await other.ask({ accept: "b" }))).toContain("vary-miss");
  });

  test.each([{ tag: "t" }, { id: "t" }, { id: "t", path: "/" }])(
    "a purge of %p reaches the other",
    async (purge) => {
      const values = new Map<string, Uint8Array>();
      const [one, other] = [sharedBed(values, {}, '["t"]'), sharedBed(values, {}, '["t"]')];
      await one.ask();
      await Bun.sleep(0);
      await ticks();
      expect(statusOf(await other.ask())).toContain("hit");
      await one.cache.purge(purge);
      expect(statusOf(await other.ask())).toContain("miss");
    },
  );

  test("a store that fails or does not answer is no cache, and no error", async () => {
    const failing = sharedBed(new Map(), { get: () => Promise.reject(new Error("down")) });
    expect(textOf(await failing.ask())).toBe("one");
    let asked = 0;
    const get = (): Promise<never> => {
      asked++;
      return new Promise(() => {});
    };
    const silent = sharedBed(new Map(), { get });
    const waiting = silent.ask();
    silent.passMs(100);
    expect(textOf(await waiting)).toBe("one");
    // It is left alone for a second.
    expect(textOf(await silent.ask())).toBe("one");
    expect(asked).toBe(1);
  });

  test("bytes that somebody else wrote are nothing", async () => {
    const bed = sharedBed(new Map(), { get: async (keys) => keys.map(() => encoder.encode("{}")) });
    expect(textOf(await bed.ask())).toBe("one");
  });
});

test("no answer goes to another variant or authorization, or is older than allowed", async () => {
  const step = fc.record({
    path: fc.constantFrom("/a", "/b"),
    accept: fc.constantFrom(undefined, "x", "y"),
    who: fc.constantFrom(undefined, "anna", "bert"),
    asked: fc.constantFrom(undefined, "no-cache", "max-age=5", "min-fresh=8", "max-stale=4"),
    method: fc.constantFrom("GET", "GET", "GET", "POST"),
    passMs: fc.integer({ min: 0, max: 15_000 }),
  });
  const said = fc.constantFrom(
    "max-age=10",
    "public, max-age=10",
    "no-cache",
    "max-age=10, must-revalidate",
    "s-maxage=10",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      said,
      fc.boolean(),
      async (steps, control, collapses) => {
        let version = 0;
        const bed = bedOf(
          ({ method, target, header }) => {
            if (method === "POST") version++;
            const made = {
              target,
              accept: header("accept"),
              who: header("authorization"),
              version,
              bornMs: bed.clock.now(),
            };
            return answer(JSON.stringify(made), {
              "Cache-Control": control,
              Vary: "Accept",
              ETag: `"${bed.sent.length}"`,
            });
          },
          { collapses },
        );
        for (const { path, accept, who, asked, method, passMs } of steps) {
          bed.passMs(passMs);
          const headers: Lines = {
            ...(accept && { Accept: accept }),
            ...(who && { Authorization: who }),
            ...(asked && { "Cache-Control": asked }),
          };
          const made = JSON.parse(textOf(await bed.ask(headers, { method, target: path })));
          const ageMs = bed.clock.now() - made.bornMs;
          const allowedMs =
            control === "no-cache" || asked === "no-cache" ? 0 : asked === "max-age=5" ? 5000 : 10_000;
          const staleMs = asked === "max-stale=4" && /^(public, )?max-age=10$/.test(control) ? 4000 : 0;
          expect([made.target, made.accept]).toEqual([path, accept]);
          // An answer to one person is for others only when that was said.
          if (made.who !== who && made.who !== undefined) expect(control).not.toBe("max-age=10");
          if (ageMs > 0) expect(ageMs).toBeLessThanOrEqual(allowedMs + staleMs);
          if (asked === "min-fresh=8" && ageMs > 0) expect(ageMs).toBeLessThanOrEqual(2000);
        }
      },
    ),
    { numRuns: 300 },
  );
});
