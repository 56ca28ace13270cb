import { expect, test } from "bun:test";
import { mecha } from "../mecha-process.ts";

test("mecha explain lists the types", async () => {
  const { code, output } = await mecha(["explain"]);
  expect(code).toBe(0);
  expect(output).toMatch(/state\.postgresql +v2 +stable/);
  const listed = JSON.parse((await mecha(["explain", "--json"])).output) as { type: string }[];
  expect(listed.map(({ type }) => type)).toContain("pubsub.redis");
});

test("mecha explain TYPE shows its fields, those of the kind and those that are refused", async () => {
  const { output } = await mecha(["explain", "STATE.redis"]);
  expect(output).toStartWith("state.redis v1, stable: Redis or Valkey");
  expect(output).toMatch(/redisHost +text +required +host:port of the server/);
  expect(output).toMatch(/poolSize .*\(refused: commands share one connection/);
  expect(output).toContain("of every state component:");
  expect(output).toMatch(/outboxPublishTopic +text/);
  const described = JSON.parse((await mecha(["explain", "state.redis", "--json"])).output);
  expect(described.schema.required).toContain("redisHost");
});

test("mecha explain TYPE FIELD shows the field, by any of its names", async () => {
  const { output } = await mecha(["explain", "state.redis", "maxretries"]);
  expect(output).toContain("redisMaxRetries");
  expect(output).toMatch(/default +3/);
  expect((await mecha(["explain", "state.redis", "redisPassword"])).output).toContain("never logged");
});

test("mecha explain says what it does not know, and what may be meant", async () => {
  const type = await mecha(["explain", "state.reddis"]);
  expect(type.code).toBe(2);
  expect(type.output).toContain("did you mean state.redis?");
  const field = await mecha(["explain", "state.redis", "redisHots"]);
  expect(field.code).toBe(2);
  expect(field.output).toContain("did you mean redisHost?");
});
