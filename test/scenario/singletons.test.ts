import { afterEach, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import {
  CampaignEvent_Kind,
  CampaignEventSchema,
  CampaignRequestSchema,
  Election,
  GetLeaderRequestSchema,
  GetLeaderResponseSchema,
} from "../../src/wire/mecha/election/v1alpha1/election_pb.js";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const base = "/v1.0-alpha1/mecha/election";

async function start(apps: string[], resources = ""): Promise<TestMecha> {
  const mecha = await startMecha({ apps: apps.map((appId) => ({ appId })), resources });
  closers.push(() => mecha.stop());
  return mecha;
}

interface Event {
  event: string;
  data: { leader: string; term: number; fencingToken: number; validForMs?: number };
}

/** A candidate over HTTP: its events so far. */
async function campaign(mecha: TestMecha, appId: string, group: string, candidate = "") {
  const client = createHttpClient();
  const leave = new AbortController();
  const events: Event[] = [];
  const response = await client.request(
    { host: "127.0.0.1", port: mecha.ports(appId).http },
    {
      method: "POST",
      target: `${base}/${group}/campaign`,
      headers: ["Content-Type", "application/json"],
      body: JSON.stringify({ candidate }),
      signal: leave.signal,
    },
  );
  expect(response.header("content-type")).toBe("text/event-stream");
  const ended = readEvents(response.body, events).catch(() => undefined);
  const close = async () => {
    leave.abort();
    await ended;
    client.close();
  };
  closers.push(close);
  const saw = (event: string) => events.some((each) => each.event === event);
  return { events, ended, close, saw };
}

async function readEvents(body: AsyncIterable<Uint8Array>, events: Event[]): Promise<void> {
  let rest = "";
  for await (const chunk of body) {
    const blocks = (rest + Buffer.from(chunk).toString()).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      if (event !== undefined && data !== undefined) events.push({ event, data: JSON.parse(data) });
    }
  }
}

test("one of two candidates leads, and the other when it leaves", async () => {
  const mecha = await start(["a", "b"]);
  const first = await campaign(mecha, "a", "g", "first");
  await until(() => first.saw("leading"), "the first leads");
  const second = await campaign(mecha, "b", "g", "second");
  await until(() => second.saw("following"), "the second follows");
  const leader = (await mecha.http("b", `GET ${base}/g/leader`)).json();
  expect(leader).toMatchObject({ group: "g", leader: "first", term: 1 });
  expect(second.events[0]?.data).toMatchObject({ leader: "first", term: 1 });
  await first.close();
  await until(() => second.saw("leading"), "the second leads");
  const [before, after] = [first.events[0]?.data, second.events.at(-1)?.data];
  expect(after).toMatchObject({ leader: "second", term: 2 });
  expect(after?.fencingToken).toBeGreaterThan(before?.fencingToken ?? Infinity);
}, 30_000);

test("a leader is renewed, and resigned for by its token", async () => {
  const mecha = await start(["a"], singleton("fast", "leaseDuration: 600ms"));
  const { events, saw, ended } = await campaign(mecha, "a", "fast");
  await until(() => saw("renewed"), "a renewal");
  const { fencingToken = 0, validForMs = 0 } = events[0]?.data ?? {};
  expect(validForMs).toBeGreaterThan(0);
  expect(validForMs).toBeLessThanOrEqual(400);
  const stale = await mecha.http("a", `POST ${base}/fast/resign`, { body: { fencingToken: 0 } });
  expect([stale.status, stale.json()]).toMatchObject([409, { errorCode: "ERR_ELECTION_NOT_LEADER" }]);
  const reply = await mecha.http("a", `POST ${base}/fast/resign`, { body: { fencingToken } });
  expect(reply.status).toBe(204);
  await ended;
  expect(events.at(-1)?.event).toBe("lost");
  const state = (await mecha.http("a", `GET ${base}/fast/leader`)).json();
  expect(state).toEqual({ group: "fast", term: 1, fencingToken });
}, 30_000);

test("the members of a Singleton resource are the only candidates", async () => {
  const mecha = await start(["a", "b"], singleton("closed", "members: [a]"));
  const refused = await mecha.http("b", `POST ${base}/closed/campaign`);
  expect([refused.status, refused.json()]).toMatchObject([403, { errorCode: "ERR_ELECTION_FORBIDDEN" }]);
  const { saw } = await campaign(mecha, "a", "closed");
  await until(() => saw("leading"), "the member leads");
}, 30_000);

test("a Singleton resource campaigns for its app and tells it", async () => {
  const app = await fakeApp({ handlers: { "POST /on": () => ({}), "POST /off": () => ({}) } });
  closers.push(() => app.close());
  const callbacks = "onAcquire: app://a/on\n  onLose: app://a/off\n  leaseDuration: 900ms";
  const resources = singleton("told", callbacks);
  const mecha = await startMecha({ apps: [{ appId: "a", app }], resources });
  closers.push(() => mecha.stop());
  await until(() => app.requests.length > 0, "the call");
  const told = app.requests[0]?.json() as { group: string; term: number; fencingToken: number };
  expect(app.requests[0]?.target).toBe("/on");
  expect(told).toMatchObject({ group: "told", term: 1, kind: "leading" });
  const { fencingToken } = told;
  await mecha.http("a", `POST ${base}/told/resign`, { body: { fencingToken } });
  await until(() => app.requests.some(({ target }) => target === "/off"), "the second call");
  await until(() => app.requests.at(-1)?.target === "/on", "it leads again");
}, 30_000);

test("a candidate over gRPC leads for as long as its stream is open", async () => {
  const mecha = await start(["a"]);
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("a").grpc });
  closers.push(() => client.close());
  const service = `/${Election.typeName}`;
  const stream = client.stream(`${service}/Campaign`);
  await stream.send(toBinary(CampaignRequestSchema, create(CampaignRequestSchema, { group: "g" })));
  stream.end();
  const { value } = await stream.responses[Symbol.asyncIterator]().next();
  const event = fromBinary(CampaignEventSchema, value as Uint8Array);
  expect(event).toMatchObject({ kind: CampaignEvent_Kind.LEADING, leader: "a", term: 1n });
  const request = toBinary(GetLeaderRequestSchema, create(GetLeaderRequestSchema, { group: "g" }));
  const leader = async () =>
    fromBinary(GetLeaderResponseSchema, await client.unary(`${service}/GetLeader`, request));
  expect(await leader()).toMatchObject({ leader: "a", term: 1n, fencingToken: event.fencingToken });
  stream.cancel();
  await until(async () => (await leader()).leader === "", "it resigned");
}, 30_000);

test("names and bodies that can not be are refused", async () => {
  const mecha = await start(["a"]);
  const long = await mecha.http("a", `POST ${base}/${"x".repeat(201)}/campaign`);
  expect([long.status, long.json()]).toMatchObject([400, { errorCode: "ERR_ELECTION_NAME" }]);
  const body = await mecha.http("a", `POST ${base}/g/resign`, { body: { fencingToken: "1" } });
  expect([body.status, body.json()]).toMatchObject([400, { errorCode: "ERR_MALFORMED_REQUEST" }]);
  expect((await mecha.http("a", `GET ${base}/none/leader`)).json()).toEqual({
    group: "none",
    term: 0,
    fencingToken: 0,
  });
}, 30_000);

function singleton(name: string, spec: string): string {
  return `apiVersion: mecha.run/v1alpha1\nkind: Singleton\nmetadata: { name: ${name} }\nspec:\n  ${spec}\n`;
}
