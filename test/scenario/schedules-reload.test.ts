import { afterEach, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cleanup, eventually, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
const env = { PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin" };

interface Listed {
  name: string;
  when: string;
  next?: string;
}

test("schedules follow their files, and `mecha schedule list` shows them", async () => {
  const folder = cleanup.folder();
  const resources = join(folder, "resources");
  const data = ["--data-dir", join(folder, "data")];
  mkdirSync(resources);
  const file = join(resources, "schedule.yaml");
  const write = (name: string, schedule: string) =>
    writeFileSync(
      file,
      `apiVersion: mecha.run/v1alpha1
kind: Schedule
metadata: { name: ${name} }
spec: { schedule: "${schedule}", timeZone: Europe/Berlin, to: "topic://pubsub/t" }
`,
    );
  write("nightly", "0 0 3 * * *");
  const words = ["run", "--app-id", "a", "--resources-path", resources, ...data];
  const started = cleanup.process(startMecha(words, { env, folder }));
  await started.printed("mecha is ready");
  const run = (...more: string[]) => mecha(["schedule", "list", ...more, ...data], { env, folder });
  const list = async () => JSON.parse((await run("--json")).output) as Listed[];
  expect(await list()).toMatchObject([{ name: "nightly", when: "TZ=Europe/Berlin 0 0 3 * * *" }]);
  expect((await run()).output).toMatch(/^NAME +WHEN +TO +NEXT.*\nnightly +TZ=.*topic:\/\/pubsub\/t/);

  const [before] = await list();
  write("nightly", "0 30 4 * * *");
  await eventually(async () => expect((await list())[0]?.when).toBe("TZ=Europe/Berlin 0 30 4 * * *"));
  const [after] = await list();
  expect(after?.next).toMatch(/T0[23]:30:00\.000Z$/);
  expect(after?.next).not.toBe(before?.next);

  write("nightly", "0 30 *");
  await started.printed("expected exactly 6 fields");
  expect((await list())[0]?.when).toBe("TZ=Europe/Berlin 0 30 4 * * *");

  rmSync(file);
  await eventually(async () => expect(await list()).toEqual([]));
}, 60_000);
