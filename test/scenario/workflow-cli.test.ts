import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cleanup, freePort, mecha, startMecha } from "../mecha-process.ts";
import { complete, count, ScriptedWorker, schedule } from "./workflow-fixture.ts";

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

const homes = {
  "the engine's store": () => "",
  "a state store of the user's": (data: string) => `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: home }
spec:
  type: state.sqlite
  version: v1
  metadata:
    - { name: actorStateStore, value: "true" }
    - { name: connectionString, value: "${join(data, "home.db")}" }
`,
};

for (const [home, component] of Object.entries(homes)) {
  test(`mecha workflow runs, lists, shows, raises, reruns and purges in ${home}`, async () => {
    const data = cleanup.folder();
    const resources = cleanup.folder();
    writeFileSync(join(resources, "home.yaml"), component(data));
    const [http, grpc] = [await freePort(), await freePort()];
    const ports = ["--dapr-http-port", `${http}`, "--dapr-grpc-port", `${grpc}`, "--metrics-port", "0"];
    const words = ["--data-dir", data, "--resources-path", resources, ...ports];
    const runtime = cleanup.process(startMecha(["run", "--app-id", "cli", ...words]));
    await runtime.printed("dapr initialized");
    const worker = new ScriptedWorker(grpc, {
      workflow: (events) => {
        if (count(events, "taskCompleted") === 0) return [schedule(1, "step")];
        return count(events, "eventRaised") > 0 ? [complete(2, '"done"')] : [];
      },
      activity: () => '"stepped"',
    });
    cleanup.add(() => worker.close());
    await runtime.printed("workflow worker connected");
    const cli = (...words: string[]) => mecha(["workflow", ...words, "--data-dir", data]);
    expect(await cli("run", "job", "plain text", "--id", "a")).toMatchObject({ code: 0, output: "a\n" });
    expect((await cli("suspend", "a")).code).toBe(0);
    expect((await cli("list")).output).toMatch(/^a +job +SUSPENDED/m);
    expect((await cli("resume", "a")).code).toBe(0);
    expect((await cli("raise", "a", "go", "1")).code).toBe(0);
    const shown = JSON.parse((await cli("show", "a", "--json")).output) as {
      workflowStatus?: string;
      input: string;
      timeline: { kind: string }[];
    };
    expect(shown.input).toBe('"plain text"');
    expect(shown.timeline.map(({ kind }) => kind)).toContain("activity");
    expect((await cli("show", "a")).output).toMatch(/1 +activity +step +"stepped"/);
    expect((await cli("show", "a")).output).toMatch(/^\+0\.000s +start +job/m);
    expect((await cli("history", "a")).output).toContain('"taskScheduled"');
    expect(await cli("rerun", "a", "1", "--id", "b")).toMatchObject({ code: 0, output: "b\n" });
    expect((await cli("terminate", "b", "--output", "enough")).code).toBe(0);
    expect((await cli("purge", "b")).output).toBe("1 purged\n");
    await expectNoWorkflow(cli, "b");
    await expectChoice(cli);
  }, 120_000);
}

type Cli = (...words: string[]) => ReturnType<typeof mecha>;

async function expectNoWorkflow(cli: Cli, id: string): Promise<void> {
  const error = `error: there is no workflow ${id}\nhint: mecha workflow list\n`;
  for (const words of [
    ["show", id],
    ["suspend", id],
    ["raise", id, "go"],
    ["rerun", id, "1"],
  ]) {
    expect(await cli(...words)).toMatchObject({ code: 1, output: error });
  }
}

/** `a` has completed. */
async function expectChoice(cli: Cli): Promise<void> {
  for (const id of ["c1", "c2", "c3"]) await cli("run", "job", "--id", id);
  const ids = async (...words: string[]) =>
    [...(await cli("list", "--json", ...words)).output.matchAll(/"instanceId":"([^"]*)"/g)].map(
      ([, id]) => id,
    );
  expect(await ids("--status", "running")).toEqual(["c1", "c2", "c3"]);
  expect(await ids("--status", "completed,failed")).toEqual(["a"]);
  expect(await ids("--name", "other")).toEqual([]);
  expect(await ids("--older-than", "1h")).toEqual([]);
  expect(await ids("--status", "running", "--after", "c1", "--limit", "1")).toEqual(["c2"]);
  expect((await cli("list", "--limit", "2")).output).toContain("more: --after c1\n");
  expect(await cli("list", "--status", "done")).toMatchObject({ code: 2 });
  expect(await cli("purge")).toMatchObject({ code: 2 });
  expect(await cli("purge", "c1", "--all")).toMatchObject({ code: 2 });
  expect((await cli("purge", "c1")).output).toContain("hint: mecha workflow terminate c1, or purge --force");
  for (const id of ["c1", "c2"]) await cli("terminate", id);
  expect((await cli("purge", "--all", "--older-than", "1h")).output).toBe("0 purged\n");
  expect((await cli("purge", "--status", "completed")).output).toBe("1 purged\n");
  expect((await cli("purge", "--all")).output).toBe("2 purged\n");
  expect(await ids()).toEqual(["c3"]);
}
