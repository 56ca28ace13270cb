import { afterAll, expect, test } from "bun:test";
import { Cleanup, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

interface Row {
  name: string;
  due: string;
  fired: number;
  data?: unknown;
}

test("mecha jobs schedules, lists, gets and deletes", async () => {
  const data = cleanup.folder();
  const ports = ["--dapr-http-port", "0", "--dapr-grpc-port", "0", "--metrics-port", "0"];
  const runtime = cleanup.process(startMecha(["run", "--app-id", "cli", "--data-dir", data, ...ports]));
  await runtime.printed("dapr initialized");
  const cli = (...words: string[]) => mecha(["jobs", ...words, "--data-dir", data]);
  const rows = async (...words: string[]) =>
    JSON.parse((await cli("list", "--json", ...words)).output) as Row[];

  expect(
    await cli("schedule", "report", '{"pages":3}', "--schedule", "@daily", "--repeats", "5"),
  ).toMatchObject({
    code: 0,
  });
  expect((await cli("schedule", "once", "plain text", "--due-time", "1h")).code).toBe(0);
  expect(
    (await cli("schedule", "report-2", "--schedule", "@every 1h", "--due-time", "2h", "--ttl", "9h")).code,
  ).toBe(0);

  const listed = (await cli()).output;
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
  expect(listed).toMatch(/^NAME +WHEN +NEXT +FIRED +FAILURES$/m);
  expect(listed).toMatch(new RegExp(`^once +once, 1h +${time} +0 +0$`, "m"));
  expect(listed).toMatch(/^report +@daily +\d{4}-\d\d-\d\dT00:00:00\.000Z +0 of 5 +0$/m);
  expect(listed).toMatch(/^report-2 +@every 1h, from 2h +/m);
  expect((await rows("--prefix", "report")).map(({ name }) => name)).toEqual(["report", "report-2"]);
  expect((await rows("--after", "once", "--limit", "1")).map(({ name }) => name)).toEqual(["report"]);
  expect((await cli("list", "--limit", "1")).output).toContain("more: mecha jobs list --after once");

  const got = (await cli("get", "report")).output;
  expect(got).toMatch(/^schedule +@daily$/m);
  expect(got).toMatch(/^data +\{"pages":3\}$/m);
  expect(JSON.parse((await cli("get", "once", "--json")).output)).toMatchObject({
    dueTime: "1h",
    data: "plain text",
  });

  const again = await cli("schedule", "once", "--due-time", "2h");
  expect([again.code, again.output]).toEqual([1, expect.stringContaining("--overwrite replaces it")]);
  expect((await cli("schedule", "once", "--due-time", "2h", "--overwrite")).code).toBe(0);
  expect((await cli("list", "--prefix", "once")).output).toContain("once, 2h");

  expect((await cli("delete", "once")).code).toBe(0);
  expect((await cli("delete", "--prefix", "report-")).code).toBe(0);
  expect((await rows()).map(({ name }) => name)).toEqual(["report"]);

  for (const [words, code, text] of [
    [["get", "once"], 1, "there is no job once"],
    [["get"], 2, "say which"],
    [["schedule", "x"], 2, "say when"],
    [["schedule", "x", "--schedule", "* * *"], 1, "DAPR_SCHEDULER_SCHEDULE_JOB"],
    [["pause", "x"], 2, 'unknown verb "pause"'],
    [["list", "--app-id", "other"], 4, "app other is not running"],
    [["list", "--limit", "0"], 1, '"limit" has to be a whole number from 1 to 1000'],
  ] as const) {
    const failed = await cli(...words);
    expect([failed.code, failed.output]).toEqual([code, expect.stringContaining(text)]);
  }
}, 60_000);
