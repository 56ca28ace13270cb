import { afterEach, expect, test } from "bun:test";
import type { AppHandler } from "../../src/testing/index.ts";
import { type CachedPair, startPair } from "./cache-fixture.ts";

// Calls for one thing each, made as one call: what the app sees, and what its callers get.

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** Tells of users one by one and together; nobody knows user 9. */
const users: AppHandler = ({ method, target, text }) => {
  const headers = { "content-type": "application/json", "cache-control": "max-age=60" };
  const about = (id: string) => `{"id":${JSON.stringify(id)},"at":1.50}`;
  const single = /^\/users\/([^/?]+)$/.exec(target)?.[1];
  if (single !== undefined) return single === "9" ? { status: 404 } : { headers, body: about(single) };
  const ids = method === "POST" ? JSON.parse(text).ids : (target.split("ids=")[1] ?? "").split(",");
  return { headers, body: `{"users":[${ids.filter((id: string) => id !== "9").map(about)}]}` };
};

const batch = {
  ...{ window: "1s", max: 3, key: "/users/{id}", split: { items: "/users", id: "id" } },
  requestTemplate: { path: "/users?ids={ids}" },
};

async function start(spec: object): Promise<CachedPair> {
  const pair = await startPair(spec, users);
  stops.push(() => pair.stop());
  return pair;
}

const asked = ({ orders }: CachedPair): string[] =>
  orders.requests.map(({ method, target }) => `${method} ${target}`);

test("calls within the window are one for the app, and each caller gets its part", async () => {
  const pair = await start({ collapse: { batch } });
  const answers = await Promise.all(["1", "2", "3"].map((id) => pair.get(`/users/${id}`)));
  expect(answers.map(({ text }) => text)).toEqual(["1", "2", "3"].map((id) => `{"id":"${id}","at":1.50}`));
  expect(answers[0]?.header("content-type")).toBe("application/json");
  expect(asked(pair)).toHaveLength(1);
  expect(asked(pair)[0]).toMatch(/^GET \/users\?ids=[123],[123],[123]$/);
});

test("what the answer lacks, and what is alone, is asked for by itself; other calls pass", async () => {
  const pair = await start({
    collapse: {
      batch: { ...batch, requestTemplate: { method: "POST", path: "/find", body: '{"ids":{ids}}' } },
    },
  });
  const answers = await Promise.all(["1", "2", "9"].map((id) => pair.get(`/users/${id}`)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 404]);
  expect(asked(pair)).toEqual(["POST /find", "GET /users/9"]);
  expect((await pair.get("/users/4")).text).toContain('"4"');
  await pair.get("/else?ids=5");
  expect(asked(pair).slice(2)).toEqual(["GET /users/4", "GET /else?ids=5"]);
});

test("parts are kept as answers are", async () => {
  const pair = await start({ cache: {}, collapse: { batch } });
  for (const _time of [1, 2]) await Promise.all(["1", "2", "3"].map((id) => pair.get(`/users/${id}`)));
  const again = await pair.get("/users/2");
  expect(again.text).toBe('{"id":"2","at":1.50}');
  expect(again.header("cache-status")).toContain("hit");
  expect(asked(pair)).toHaveLength(1);
});
