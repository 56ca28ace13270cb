import { expect, test } from "bun:test";
import { mcpToolsOf } from "./mcp-tools.ts";

const call = (name: string) =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${name}","arguments":{}}}`;

test.each([
  [call("search"), ["search"]],
  [call("a\\u0062"), ["ab"]],
  [` [${call("a")}, {"method":"ping"}, ${call("b")}]`, ["a", "b"]],
  ['{"jsonrpc":"2.0","id":1,"method":"tools/list"}', []],
  ['{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call","params":{"name":"x"}}}', []],
  ['{"method":"tools/call","params":{"arguments":{"name":"y"},"name":"x"}}', ["x"]],
  ["", []],
  ["[]", []],
  ["no JSON", undefined],
  ["1", undefined],
  ["[1]", undefined],
  ["\ufeff{}", undefined],
  ['{"method":"tools/call"}', undefined],
  ['{"method":"tools/call","params":{}}', undefined],
  ['{"method":"tools/call","params":{"name":1}}', undefined],
  ['{"method":"tools/call","params":["x"]}', undefined],
  ['{"method":1,"params":{"name":"x"}}', undefined],
  // What readers differ in.
  ['{"method":"ping","method":"tools/call","params":{"name":"x"}}', undefined],
  ['{"method":"tools/call","params":{"name":"x","name":"y"}}', undefined],
  ['{"method":"tools/call","params":{"name":"x","n\\u0061me":"y"}}', undefined],
  ['{"method":"tools/call","params":{"name":"x","Name":"y"}}', undefined],
  ['{"Method":"tools/call","params":{"name":"x"}}', undefined],
  ['{"method":"Tools/Call","params":{"name":"x"}}', undefined],
  ['{"method":"tools/call ","params":{"name":"x"}}', undefined],
] as [string, string[] | undefined][])("%s calls %p", (text, tools) => {
  expect(mcpToolsOf(Buffer.from(text))).toEqual(tools as never);
});

test("what is no UTF-8 is not clear", () => {
  expect(mcpToolsOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBeUndefined();
});
