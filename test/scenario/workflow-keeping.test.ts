// What bounds an instance: how long it is kept, how large it may be; and how it is listed.
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { TaskHubSidecarService } from "../../src/wire/orchestrator_service_pb.js";
import { type Action, complete, count, type Script, ScriptedWorker } from "./workflow-fixture.ts";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Options = Parameters<typeof startMecha>[0]["apps"][0]["options"];

async function start(script: Script, options: Options = {}): Promise<TestMecha> {
  const mecha = await startMecha({ apps: [{ appId: "app", options }] });
  closers.push(() => mecha.stop());
  const worker = new ScriptedWorker(mecha.ports("app").grpc, script);
  closers.push(() => {
    worker.leave();
    worker.close();
  });
  return mecha;
}

async function call<M extends DescMethodUnary>(
  mecha: TestMecha,
  method: M,
  request: MessageInitShape<M["input"]>,
) {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("app").grpc });
  try {
    const bytes = toBinary(method.input, create(method.input, request));
    return fromBinary(
      method.output,
      await client.unary(`/${method.parent.typeName}/${method.name}`, bytes),
    ) as ReturnType<typeof create<M["output"]>>;
  } finally {
    client.close();
  }
}

async function stateOf(mecha: TestMecha, id: string) {
  const answer = await mecha.http("app", `GET /v1.0/workflows/dapr/${id}`);
  return answer.json() as { runtimeStatus?: string; properties: Record<string, string>; errorCode?: string };
}

const isGone = async (mecha: TestMecha, id: string) =>
  (await stateOf(mecha, id)).errorCode === "ERR_INSTANCE_ID_NOT_FOUND";

const begin = (mecha: TestMecha, id: string, body = "1") =>
  mecha.http("app", `POST /v1.0/workflows/dapr/wf/start?instanceID=${id}`, { body });

const ending: Script = {
  workflow: (events) => (count(events, "eventRaised") > 0 ? [complete(1, '"done"')] : []),
};

test("finished instances are purged after their time, each status after its own", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mecha-keeping-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "config.yaml");
  writeFileSync(
    file,
    `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: { name: keeping }
spec:
  workflow:
    stateRetentionPolicy: { anyTerminal: 200ms, completed: 1h }
`,
  );
  const mecha = await start(ending, { configPaths: [file] });
  for (const id of ["completed", "terminated", "running"]) await begin(mecha, id);
  await mecha.http("app", "POST /v1.0/workflows/dapr/completed/raiseEvent/go");
  await mecha.http("app", "POST /v1.0/workflows/dapr/terminated/terminate");
  await until(() => isGone(mecha, "terminated"), "the terminated one to be purged");
  await until(
    async () => (await stateOf(mecha, "completed")).runtimeStatus === "COMPLETED",
    "the end of the other",
  );
  expect((await stateOf(mecha, "running")).runtimeStatus).toBe("RUNNING");
  const { instanceIds } = await call(mecha, TaskHubSidecarService.method.listInstanceIDs, {});
  expect(instanceIds).toEqual(["completed", "running"]);
});

test("a workflow whose history does not fit into a message stands still, until messages may be larger", async () => {
  const mecha = await start(ending, { maxBodyBytes: 20_000 });
  await begin(mecha, "a", JSON.stringify("x".repeat(10_000)));
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/raiseEvent/other", {
    body: JSON.stringify("x".repeat(10_000)),
  });
  await until(async () => (await stateOf(mecha, "a")).runtimeStatus === "STALLED", "the workflow to stall");
  expect((await stateOf(mecha, "a")).properties["mecha.workflow.stalled"]).toStartWith(
    "PAYLOAD_SIZE_EXCEEDED",
  );
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/terminate");
  await until(async () => (await stateOf(mecha, "a")).runtimeStatus === "TERMINATED", "the workflow to end");
});

test("a workflow that calls an activity with more than fits into a message stands still", async () => {
  const value = { name: "huge", input: JSON.stringify("x".repeat(19_300)) };
  const huge: Action = { id: 1, workflowActionType: { case: "scheduleTask", value } };
  const mecha = await start({ workflow: () => [huge] }, { maxBodyBytes: 20_000 });
  const begun = begin(mecha, "a");
  await until(async () => (await stateOf(mecha, "a")).runtimeStatus === "STALLED", "the workflow to stall");
  expect((await stateOf(mecha, "a")).properties["mecha.workflow.stalled"]).toMatch(
    /^PAYLOAD_SIZE_EXCEEDED: the request of activity huge has 19\d{3} bytes/,
  );
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/terminate");
  await begun;
});

test("instances are listed page by page, each once", async () => {
  const mecha = await start(ending);
  const wanted = Array.from({ length: 7 }, (_, index) => `i${index}`);
  for (const id of wanted) await begin(mecha, id);
  const pages: string[][] = [];
  for (let token: string | undefined = ""; token !== undefined; ) {
    const request: { pageSize: number; continuationToken?: string } = { pageSize: 3 };
    if (token !== "") request.continuationToken = token;
    const page = await call(mecha, TaskHubSidecarService.method.listInstanceIDs, request);
    pages.push(page.instanceIds);
    token = page.continuationToken;
  }
  expect(pages).toEqual([wanted.slice(0, 3), wanted.slice(3, 6), wanted.slice(6)]);
});

test.each(["Alpha1", "Beta1"] as const)(
  "the workflow methods %s of the Dapr service do all that HTTP does",
  async (version) => {
    const { method } = Dapr;
    const mecha = await start(ending);
    const workflowComponent = "dapr";
    const input = new TextEncoder().encode("7");
    const startAt = new Date(Date.now() + 1_500);
    const started = await call(mecha, method[`startWorkflow${version}`], {
      workflowComponent,
      workflowName: "wf",
      instanceId: "a",
      options: { "dapr.workflow.start_time": startAt.toISOString() },
      input,
    });
    expect(started.instanceId).toBe("a");
    const get = () => call(mecha, method[`getWorkflow${version}`], { workflowComponent, instanceId: "a" });
    expect((await get()).runtimeStatus).toBe("PENDING");
    await until(async () => (await get()).runtimeStatus === "RUNNING", "the start");
    expect(Date.now()).toBeGreaterThanOrEqual(startAt.getTime());
    const { workflowName, properties } = await get();
    expect([workflowName, properties["dapr.workflow.input"]]).toEqual(["wf", "7"]);
    const named = { workflowComponent, instanceId: "a" };
    await call(mecha, method[`pauseWorkflow${version}`], named);
    expect((await get()).runtimeStatus).toBe("SUSPENDED");
    await call(mecha, method[`resumeWorkflow${version}`], named);
    expect((await get()).runtimeStatus).toBe("RUNNING");
    await call(mecha, method[`raiseEventWorkflow${version}`], {
      ...named,
      eventName: "go",
      eventData: input,
    });
    await until(async () => (await get()).runtimeStatus === "COMPLETED", "the end");
    await call(mecha, method[`purgeWorkflow${version}`], named);
    expect(get()).rejects.toThrow("unable to find workflow with the provided instance ID: a");
    await call(mecha, method[`startWorkflow${version}`], { ...named, workflowName: "wf" });
    await call(mecha, method[`terminateWorkflow${version}`], named);
    expect((await get()).runtimeStatus).toBe("TERMINATED");
    const refused = call(mecha, method[`startWorkflow${version}`], { workflowComponent, instanceId: "b" });
    expect(refused).rejects.toThrow("workflow name is not configured");
  },
);
