import { expect, test } from "bun:test";
import { createLog, type LogOptions } from "./log.ts";

function capture(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    asJson: false,
    appId: "orders",
    instance: "host-1",
    version: "1.18.3",
    write: (line) => lines.push(line),
    now: () => new Date("2026-11-22T12:00:00.123Z"),
    ...options,
  });
  return { log, lines };
}

test("createLog() writes logrus text with Dapr's fields", () => {
  const { log, lines } = capture();
  log.scope("dapr.runtime.pubsub").info({ topic: "a b", tries: 2 }, 'subscribed to "a"');
  expect(lines).toEqual([
    'time="2026-11-22T12:00:00.123000000Z" level=info msg="subscribed to \\"a\\"" app_id=orders instance=host-1 scope=dapr.runtime.pubsub type=log ver=1.18.3 topic="a b" tries=2\n',
  ]);
});

test("createLog() writes JSON lines", () => {
  const { log, lines } = capture({ asJson: true });
  log.warn({ tries: 2 }, "hm");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: "warning",
    msg: "hm",
    app_id: "orders",
    tries: 2,
    type: "log",
  });
});

test("createLog() leaves out what is below the level and shows causes once", () => {
  const { log, lines } = capture();
  log.debug({}, "no");
  log.error({ error: new Error("outer", { cause: new Error("inner") }) }, "failed");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('error="outer: inner"');
});
