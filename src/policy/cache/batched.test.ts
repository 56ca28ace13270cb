import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { BatchSpec } from "../../resource/traffic.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { Batched, partsOf } from "./batched.ts";
import { CacheMeter } from "./cache-meter.ts";
import { type Lines, requestOf, textOf } from "./fixture-cache.ts";
import type { CacheReply, Change } from "./reply.ts";

const users: BatchSpec = {
  ...{ windowMs: 10, max: 3, key: "/users/{id}?v=1" },
  request: { method: "GET", path: "/users?ids={ids}", body: "" },
  split: { items: "/users", id: "id" },
};

interface Asked {
  targets: string[];
  bodies: string[];
}

function bedOf(changes: Partial<BatchSpec>, answer: (ids: string[]) => CacheReply) {
  const clock = new SimulatedClock();
  const meter = new CacheMeter(createMetrics(), { app_id: "a", namespace: "n", target: "t" });
  const batched = new Batched({ ...users, ...changes }, { clock, meter });
  const asked: Asked = { targets: [], bodies: [] };
  const get = async (
    id: string,
    headers: Lines = {},
    more: { signal?: AbortSignal; method?: string } = {},
  ) => {
    const request = requestOf(headers, { target: `/users/${id}?v=1`, ...more });
    const send = async (change?: Change): Promise<CacheReply> => {
      const { target, body } = change?.instead ?? { target: request.target, body: new Uint8Array(0) };
      asked.targets.push(target);
      asked.bodies.push(Buffer.from(body).toString());
      if (change?.instead === undefined) return { status: 200, headers: [], body: `alone ${id}` };
      return answer(decodeURIComponent(target.split("ids=")[1] ?? "").split(","));
    };
    return batched.send(request, send);
  };
  const pass = async (ms = 10): Promise<void> => {
    await new Promise((later) => setImmediate(later));
    clock.advance(ms);
  };
  return { get, asked, pass, meter };
}

const all = (ids: string[]): CacheReply => ({
  status: 200,
  headers: ["ETag", '"all"', "Content-Length", "9", "X-From", "all", "Cache-Control", "max-age=9"],
  body: `{"users": [${ids.map((id) => `{ "id": "${id}", "big": 12345678901234567890 }`)}]}`,
});

test("what comes within the window is asked for together, and each gets its part as it stands", async () => {
  const { get, asked, pass, meter } = bedOf({}, all);
  const answers = ["1", "a%2Cb"].map((id) => get(id));
  await pass();
  const [one, other] = await Promise.all(answers);
  expect(asked.targets[0]).toBe("/users?ids=1,a%2Cb");
  expect(textOf(one as CacheReply)).toBe('{ "id": "1", "big": 12345678901234567890 }');
  expect(one?.headers).toEqual([
    "X-From",
    "all",
    "Cache-Control",
    "max-age=9",
    "Content-Type",
    "application/json",
  ]);
  // The answer of this test takes the comma of an id for one between two.
  expect(textOf(other as CacheReply)).toBe("alone a%2Cb");
  expect(meter.counts.collapsed).toBe(1);
});

test("a full batch does not wait, one thing alone is asked for by its caller", async () => {
  const { get, asked, pass } = bedOf({}, all);
  await Promise.all(["1", "2", "3"].map((id) => get(id)));
  expect(asked.targets).toEqual(["/users?ids=1,2,3"]);
  const alone = [get("4"), get("4")];
  await pass();
  expect((await Promise.all(alone)).map(textOf)).toEqual(["alone 4", "alone 4"]);
});

test.each<[string, CacheReply]>([
  ["fails", { status: 500, headers: [] }],
  ["is for one person", { ...all(["1", "2"]), headers: ["Cache-Control", "private"] }],
  ["sets a cookie", { ...all(["1", "2"]), headers: ["Set-Cookie", "a=1"] }],
  ["is no JSON", { status: 200, headers: [], body: "{" }],
  ["has them elsewhere", { status: 200, headers: [], body: '{"users":{"1":{}}}' }],
])("each asks for itself when the answer %s", async (_, reply) => {
  const { get, pass } = bedOf({}, () => reply);
  const answers = [get("1"), get("2")];
  await pass();
  expect((await Promise.all(answers)).map(textOf)).toEqual(["alone 1", "alone 2"]);
});

test("other headers, methods and conditions keep calls apart", async () => {
  const { get, asked, pass } = bedOf({}, all);
  const answers = [
    get("1", { authorization: "a" }),
    get("2", { authorization: "b" }),
    get("3", { range: "bytes=0-1" }),
    get("4", { "if-none-match": '"x"' }),
    get("5", {}, { method: "POST" }),
  ];
  await pass();
  await Promise.all(answers);
  expect(asked.targets.every((target) => target.endsWith("?v=1"))).toBe(true);
});

test("a body may hold the ids, as JSON", async () => {
  const request = { method: "POST", path: "/find?ids=1,2", body: '{"ids": {ids}}' };
  const { get, asked, pass } = bedOf({ request }, all);
  const answers = [get("1"), get("%22")];
  await pass();
  await Promise.all(answers);
  expect(asked.bodies[0]).toBe('{"ids": ["1","\\""]}');
});

test("a caller who leaves does not end the call for others; when all have left it is ended", async () => {
  const { get, asked, pass } = bedOf({}, all);
  const leaving = new AbortController();
  const answers = [get("1", {}, { signal: leaving.signal }), get("2")];
  await new Promise((later) => setImmediate(later));
  leaving.abort(new Error("gone"));
  expect(await answers[0]?.catch((error) => error.message)).toBe("gone");
  await pass();
  expect(textOf((await answers[1]) as CacheReply)).toContain('"id": "2"');
  expect(asked.targets).toEqual(["/users?ids=1,2"]);
});

test.each([
  [
    '{"a":{"x":1,"y":{"z":1.0}}}',
    { items: "/a", id: "" },
    [
      ["x", "1"],
      ["y", '{"z":1.0}'],
    ],
  ],
  [
    '[{"n":1},{"n":"b"},{"m":1}]',
    { items: "", id: "n" },
    [
      ["1", '{"n":1}'],
      ["b", '{"n":"b"}'],
    ],
  ],
  ['{"a/b":[{"id":1}]}', { items: "/a~1b", id: "id" }, [["1", '{"id":1}']]],
  ['{"a":1}', { items: "/a/b", id: "" }, []],
])("the parts of %s", (text, split, parts) => {
  expect([...partsOf(text, split)]).toEqual(parts as [string, string][]);
});
