import { expect, test } from "bun:test";
import { redisAddress } from "./redis-address.ts";

test.each([
  ["localhost", undefined, { host: "localhost", port: 6379 }],
  ["cache.internal:7000", undefined, { host: "cache.internal", port: 7000 }],
  ["cache", 7001, { host: "cache", port: 7001 }],
  ["cache:7001", 7001, { host: "cache", port: 7001 }],
  ["[::1]:7000", undefined, { host: "::1", port: 7000 }],
  ["::1", undefined, { host: "::1", port: 6379 }],
])("reads the address %j with the port %p", (text, port, address) => {
  expect(redisAddress(text, port)).toEqual(address);
});

test.each([
  ["", undefined, "must be host:port"],
  ["a:b", undefined, "must be host:port"],
  ["a:70000", undefined, "must be host:port"],
  ["redis://a:6379", undefined, "without a scheme"],
  ["a:1,b:2", undefined, "a cluster is not supported"],
  ["a:1", 2, "leave one of them out"],
])("refuses the address %j with the port %p", (text, port, message) => {
  expect(() => redisAddress(text, port)).toThrow(message);
});
