import { expect, test } from "bun:test";
import { checkResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";

const nothing = () => undefined;
const log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => log,
};

async function read(kind: string, spec: string) {
  const text = `apiVersion: mecha.run/v1alpha1\nkind: ${kind}\nmetadata: { name: x }\nspec: ${spec}\n`;
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  return checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
}

async function errorsOf(kind: string, spec: string): Promise<string> {
  const error = await read(kind, spec).then(nothing, (caught: Error) => caught);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message;
}

test("a Schedule has a time, data and a destination", async () => {
  const { schedules } = await read(
    "Schedule",
    `{ schedule: "@daily", timeZone: Europe/Berlin, data: { a: 1 }, to: "app://orders/tick?x=1",
  catchUp: { all: { limit: 5 } }, singleton: leaders, delivery: { retry: 7, deadLetterSink: "topic://pubsub/dead" } }`,
  );
  expect(schedules[0]?.spec).toMatchObject({
    schedule: "TZ=Europe/Berlin @daily",
    data: { text: '{"a":1}', isBase64: false },
    contentType: "application/json",
    to: { kind: "app", id: "orders", path: "/tick?x=1", method: "POST" },
    catchUp: { kind: "all", limit: 5 },
    singleton: "leaders",
    delivery: { retry: 7, deadLetterSink: { kind: "topic", pubsub: "pubsub", topic: "dead" } },
  });
});

test("a destination has a long form", async () => {
  const long =
    "{ every: 1s, to: { ref: { kind: App, name: orders }, path: /tick, method: PUT, headers: { a: b } } }";
  const { schedules } = await read("Schedule", long);
  expect(schedules[0]?.spec.to).toEqual({
    kind: "app",
    id: "orders",
    path: "/tick",
    method: "PUT",
    headers: { a: "b" },
  });
});

test.each([
  ["{ to: app://a/b }", "spec needs exactly one of schedule, every, after, at, got none"],
  ["{ every: 1s, at: 2027-01-01T00:00:00Z, to: app://a/b }", "got every and at"],
  ["{ every: 1s }", "spec.to is missing"],
  ["{ every: 1s, to: actor://Type/1/tick }", "destinations actor:// are not implemented"],
  ["{ every: 1s, to: nowhere }", "a destination must be like app://orders/tick"],
  ["{ every: 1s, to: app://a/b, jitter: 5s }", "spec.jitter is not implemented"],
  ["{ every: 1s, to: app://a/b, concurrencyPolicy: Replace }", "Replace is not implemented"],
  [
    "{ every: 1s, to: app://a/b, delivery: { orderingKey: x } }",
    "spec.delivery.orderingKey is not implemented",
  ],
  ["{ every: 1s, to: app://a/b, catchup: some }", "must be one of none, last, all"],
  ["{ at: tomorrow, to: app://a/b }", "spec.at must be a time like"],
  ["{ every: 1s, timeZone: UTC, to: app://a/b }", "spec.timeZone goes with spec.schedule"],
])("a Schedule of %s is refused", async (spec, message) => {
  expect(await errorsOf("Schedule", spec)).toContain(message);
});

test("a Singleton has the times of its lease", async () => {
  const { singletons } = await read(
    "Singleton",
    "{ leaseDuration: 3s, members: [a, b], onAcquire: app://a/on }",
  );
  expect(singletons[0]?.spec).toMatchObject({
    leaseDurationMs: 3000,
    renewDeadlineMs: 2000,
    retryPeriodMs: 400,
    members: ["a", "b"],
    onAcquire: { kind: "app", id: "a", path: "/on" },
  });
});

test.each([
  ["{ leaseDuration: 10ms }", "at least 500ms"],
  ["{ renewDeadline: 15s }", "spec.renewDeadline must be between"],
  ["{ fencing: false }", "spec.fencing is not implemented"],
  ["{ store: redis }", "spec.store is not implemented"],
  ["{ onLose: topic://pubsub/x }", "calls apps only"],
  ["{ members: [{ kind: Pipe, name: x }] }", 'members of kind "Pipe" are not implemented'],
])("a Singleton of %s is refused", async (spec, message) => {
  expect(await errorsOf("Singleton", spec)).toContain(message);
});
