import { expect, test } from "bun:test";
import { ReplyReader } from "./memcached-reply.ts";

const answer = Buffer.from(
  "VALUE ключ 0 9\r\na\r\nEND\r\nb\r\nVALUE b 0 0 17\r\n\r\nEND\r\nSTORED\r\nSERVER_ERROR out of memory\r\n",
);

test("reads the same answers however they are cut", () => {
  for (let size = 1; size <= answer.length; size++) {
    const reader = new ReplyReader();
    const replies = [];
    for (let at = 0; at < answer.length; at += size)
      replies.push(...reader.read(answer.subarray(at, at + size)));
    expect(replies.map(({ line }) => line)).toEqual(["END", "STORED", "SERVER_ERROR out of memory"]);
    const values = replies[0]?.values.map(({ key, value }) => [key, Buffer.from(value).toString()]);
    expect(values).toEqual([
      ["ключ", "a\r\nEND\r\nb"],
      ["b", ""],
    ]);
    expect(replies[1]?.values).toEqual([]);
  }
});

test.each([
  "VALUE a 0 x\r\n",
  "VALUE a 0 -1\r\n",
  "VALUE a 0 99999999999\r\n",
  "VALUE a 0 1\r\nabc",
  "x".repeat(5_000),
])("refuses %j", (text) => {
  expect(() => [...new ReplyReader().read(Buffer.from(text))]).toThrow(/of its answer/);
});
