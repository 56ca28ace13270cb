import { expect, test } from "bun:test";
import { parseEffects } from "./effects.ts";

const parsed = (text: string) => parseEffects(Buffer.from(text));
const textOf = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("utf8");

test("values stay the text they were written as", () => {
  const { state, publish, call, reply } = parsed(`{
    "state": [{ "key": "a", "value": {"big": 12345678901234567890, "one": 1.0} }, {"op":"delete","key":"b"}],
    "publish": [{ "topic": "t", "data": [1.50], "key": "k" }, {"topic":"u","data":"plain","contentType":"text/plain"}],
    "call": [{ "to": "https://host:8/p?x=1", "method": "put", "body": 1e2 }, {"to":"app://mail"}],
    "reply": { "headers": { "content-type": "text/html" }, "body": "<p>" }
  }`);
  expect(state[0]?.value).toBe('{"big": 12345678901234567890, "one": 1.0}');
  expect(state[1]).toMatchObject({ op: "delete", key: "b", value: "" });
  expect([textOf(publish[0]?.data), publish[0]?.metadata]).toEqual(["[1.50]", { partitionKey: "k" }]);
  expect(textOf(publish[1]?.data)).toBe("plain");
  expect(call[0]).toMatchObject({ id: "https://host:8", path: "/p?x=1", method: "PUT" });
  expect([textOf(call[0]?.body), call[0]?.headers]).toEqual(["1e2", { "Content-Type": "application/json" }]);
  expect(call[1]).toMatchObject({ id: "mail", path: "/", method: "POST", headers: {} });
  expect([reply?.status, textOf(reply?.body)]).toEqual([200, "<p>"]);
});

test("nothing asked for is nothing to do", () => {
  expect(parsed("{}")).toEqual({ state: [], publish: [], schedule: [], call: [], reply: undefined });
  expect(parsed('{"reply":{}}').reply?.status).toBe(204);
});

test("a state effect expires, or does not, as in the state API", () => {
  const ttls = [60, 0, -1].map((seconds) => `{"key":"a","value":1,"ttlInSeconds":${seconds}}`);
  expect(parsed(`{"state":[${ttls}]}`).state.map(({ ttlSeconds }) => ttlSeconds)).toEqual([60, null, null]);
});

test("what is not understood is refused with its place", () => {
  const refused: [text: string, why: string][] = [
    ["[]", "must be an object"],
    ["{", "the effects are no JSON"],
    ['{"state":{}}', "state: must be a list"],
    ['{"state":[1]}', "state[0]: must be an object"],
    ['{"state":[{"key":"a","value":1},{"key":"b"}]}', "state[1].value: is missing"],
    ['{"state":[{"op":"set","key":"b","value":1}]}', "state[0].op: must be upsert or delete"],
    ['{"state":[{"key":1,"value":1}]}', "state[0].key: must be a text"],
    ['{"publish":[{"topic":"t","dat":1}]}', "publish[0].dat: is not known"],
    ['{"schedule":[{"name":"a","repeats":"1"}]}', "schedule[0].repeats: must be a number"],
    ['{"call":[{"to":"mail"}]}', "call[0].to: must be like app://orders/path"],
    ['{"call":[{"to":"actor://a/b"}]}', "call[0].to: a call to actor:// is not implemented"],
    [
      '{"state":[{"key":"a","value":1,"ttlInSeconds":1e300}]}',
      "ttlInSeconds: must be a whole number from -1",
    ],
    ['{"state":[{"key":"a","value":1,"ttlInSeconds":0.5}]}', "state[0].ttlInSeconds: must be a whole number"],
    ['{"publish":[{"topic":"t","data":1,"contentType":"a\\nb"}]}', "publish[0].contentType: must be like"],
    ['{"publish":[{"topic":"t","metadata":{"a":{}}}]}', "publish[0].metadata: a must be a text"],
    ['{"call":[{"to":"app://mail/a b"}]}', "call[0].to: has characters that must be percent-encoded"],
    ['{"call":[{"to":"http://host:99999/"}]}', "call[0].to: is no URL"],
    ['{"call":[{"to":"app://mail","method":"connect"}]}', "call[0].method: must be one of GET, HEAD"],
    ['{"call":[{"to":"app://mail","headers":{"a b":"c"}}]}', 'call[0].headers: "a b" is no name of a header'],
    ['{"call":[{"to":"app://mail","headers":{"a":"b\\r\\nc: d"}}]}', "call[0].headers: the value of a has"],
    ['{"reply":{"headers":{"a":"\u20ac"}}}', "reply.headers: the value of a has characters"],
    ['{"reply":{"headers":{"":"a"}}}', 'reply.headers: "" is no name of a header'],
    ['{"reply":{"status":99}}', "reply.status: must be a status from 200 to 599"],
    [`{"state":[${'{"op":"delete","key":"a"},'.repeat(1000)}{"op":"delete","key":"a"}]}`, "more than 1000"],
  ];
  for (const [text, why] of refused) expect(() => parsed(text)).toThrow(why);
});
