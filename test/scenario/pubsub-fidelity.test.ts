import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { type App, componentResource, eventually, Machine, type Received } from "./pubsub-fixture.ts";

const machine = new Machine();
let app: App;

beforeAll(async () => {
  app = await machine.app({
    appId: "orders",
    components: [componentResource("bus", "pubsub.in-memory")],
    subscribe: [{ pubsubname: "bus", topic: "t", route: "/t" }],
  });
});
afterAll(() => machine.close());

async function sent(data: Uint8Array, contentType: string): Promise<Received> {
  const before = app.received.length;
  await app.engine.publish({
    pubsubName: "bus",
    topic: "t",
    data,
    contentType,
    metadata: {},
    trace: undefined,
  });
  await eventually(() => app.received.length === before + 1);
  return app.received[before] as Received;
}

test("any JSON reaches the app's data to the letter", async () => {
  const numbers = fc.constantFrom(
    "12345678901234567890",
    "1.0",
    "1e400",
    "-0",
    "0.1000",
    '{ "a" : 1.10 }',
    " [1 ,2 ] ",
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(numbers, fc.json()), async (json) => {
      const { bytes } = await sent(Buffer.from(json), "application/json");
      expect(Buffer.from(bytes).toString("utf8")).toEndWith(`,"data":${json}}`);
    }),
    { numRuns: 100 },
  );
});

test("any bytes of any other type reach the app", async () => {
  const types = fc.constantFrom(
    "text/plain",
    "application/octet-stream",
    "image/png",
    "application/vnd.x+json",
    "text/html; charset=utf-8",
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ unit: "grapheme" }).map((text) => Buffer.from(text)),
  );
  await fc.assert(
    fc.asyncProperty(bytes, types, async (data, type) => {
      const { event } = await sent(data, type);
      const base64 = event.data_base64 as string | undefined;
      const arrived =
        base64 === undefined ? Buffer.from(event.data as string) : Buffer.from(base64, "base64");
      expect(arrived).toEqual(Buffer.from(data));
      expect(event.datacontenttype).toBe(type);
    }),
    { numRuns: 100 },
  );
});
