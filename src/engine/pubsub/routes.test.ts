import { describe, expect, test } from "bun:test";
import { CloudEvent } from "./cloud-event.ts";
import { createRouter, InvalidRoute } from "./routes.ts";
import { orderedRoutes } from "./subscription.ts";

function event(value: object): CloudEvent {
  return new CloudEvent(Buffer.from(JSON.stringify(value)));
}

describe("createRouter()", () => {
  test("takes the first rule that holds and the default last", async () => {
    const rules = [
      { match: "", path: "/rest" },
      { match: 'event.type == "a"', path: "/a" },
      { match: "event.data.total > 100 && has(event.myext)", path: "/big" },
    ];
    const router = await createRouter(orderedRoutes(rules, ""));
    expect(router.readsEvent).toBe(true);
    expect(router.pathFor(event({ type: "a" }))).toBe("/a");
    expect(router.pathFor(event({ type: "b", myext: 1, data: { total: 101 } }))).toBe("/big");
    expect(router.pathFor(event({ type: "b", myext: 1, data: { total: 99 } }))).toBe("/rest");
  });

  test("finds nothing when no rule holds and there is no default", async () => {
    const router = await createRouter([{ match: 'event.type == "a"', path: "/a" }]);
    expect(router.pathFor(event({ type: "b" }))).toBeUndefined();
  });

  test("does not look into events for a single default", async () => {
    const router = await createRouter([{ match: "", path: "/x" }]);
    expect(router.readsEvent).toBe(false);
    expect(router.pathFor(new CloudEvent(Buffer.from("no event")))).toBe("/x");
  });

  test("throws for events that a rule cannot be decided for", async () => {
    const router = await createRouter([{ match: "event.data.missing == 1", path: "/a" }]);
    expect(() => router.pathFor(event({ data: {} }))).toThrow(InvalidRoute);
    const number = await createRouter([{ match: "event.data.n", path: "/a" }]);
    expect(() => number.pathFor(event({ data: { n: 1 } }))).toThrow("not a boolean");
  });

  test("refuses expressions that are wrong, endless or nest too many macros", async () => {
    const attempt = (match: string) => createRouter([{ match, path: "/a" }]);
    await expect(attempt("event.type ==")).rejects.toThrow(InvalidRoute);
    await expect(attempt(`event.type == "${"x".repeat(5000)}"`)).rejects.toThrow("longer than");
    const nested = "event.l.all(a, event.l.all(b, event.l.all(c, a == b && b == c)))";
    await expect(attempt(nested)).rejects.toThrow("nested macros");
    expect((await attempt('event.l.all(a, a == ".all(.all(.all(")')).pathFor(event({ l: [] }))).toBe("/a");
  });
});
