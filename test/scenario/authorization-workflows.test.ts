import { afterEach, expect, test } from "bun:test";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { type HistoryEvent, TaskHubSidecarService } from "../../src/wire/orchestrator_service_pb.js";
import { child, complete, count, ScriptedWorker } from "./workflow-fixture.ts";

// AuthorizationPolicy on workflows: by HTTP, by the Dapr service, by the service of the SDKs, and asked by other apps.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function policy(spec: object, scopes: string[] = []): string {
  const metadata = { name: `p${JSON.stringify(spec).length}` };
  const document = {
    apiVersion: "mecha.run/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata,
    ...(scopes.length > 0 && { scopes }),
    spec,
  };
  return `---\n${JSON.stringify(document)}\n`;
}

const deny = (operation: object) => policy({ action: "DENY", rules: [{ to: [{ operation }] }] });

async function start(resources: string, appIds = ["orders"]): Promise<TestMecha> {
  const mecha = await startMecha({ resources, apps: appIds.map((appId) => ({ appId })) });
  closers.push(() => mecha.stop());
  return mecha;
}

/** What a call over gRPC came to: `ok`, or the message of its error. */
function caller(mecha: TestMecha, appId = "orders") {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports(appId).grpc });
  closers.push(() => client.close());
  return <I extends DescMessage>(
    method: DescMethodUnary<I, DescMessage>,
    request: MessageInitShape<I>,
  ): Promise<string> => {
    const path = `/${method.parent.typeName}/${method.name}`;
    return client.unary(path, toBinary(method.input, create(method.input, request))).then(
      () => "ok",
      (error: Error & { code: number }) => `${error.code} ${error.message}`,
    );
  };
}

/** Every verb of an instance through every door; each tells whether it was kept out. */
function doors(mecha: TestMecha, instanceId: string): [name: string, isDenied: () => Promise<boolean>][] {
  const grpc = caller(mecha);
  const hub = TaskHubSidecarService.method;
  const instance = { instanceId, workflowComponent: "dapr" };
  const http = (line: string, body?: string) => async () => {
    const { status, text } = await mecha.http("orders", line, body === undefined ? {} : { body });
    return status === 403 && text.includes("RBAC: access denied");
  };
  const over = (call: () => Promise<string>) => async () => (await call()) === "7 RBAC: access denied";
  const path = `/v1.0/workflows/dapr/${instanceId}`;
  return [
    ["http get", http(`GET ${path}`)],
    ["http raise", http(`POST ${path}/raiseEvent/go`, "1")],
    ["http pause", http(`POST ${path}/pause`)],
    ["http resume", http(`POST ${path}/resume`)],
    ["dapr get", over(() => grpc(Dapr.method.getWorkflowBeta1, instance))],
    ["dapr raise", over(() => grpc(Dapr.method.raiseEventWorkflowBeta1, { ...instance, eventName: "go" }))],
    ["dapr pause", over(() => grpc(Dapr.method.pauseWorkflowBeta1, instance))],
    ["dapr resume", over(() => grpc(Dapr.method.resumeWorkflowBeta1, instance))],
    ["hub get", over(() => grpc(hub.getInstance, { instanceId }))],
    ["hub history", over(() => grpc(hub.getInstanceHistory, { instanceId }))],
    ["hub raise", over(() => grpc(hub.raiseEvent, { instanceId, name: "go" }))],
    ["hub pause", over(() => grpc(hub.suspendInstance, { instanceId }))],
    ["hub resume", over(() => grpc(hub.resumeInstance, { instanceId }))],
    [
      "hub rerun",
      over(() =>
        grpc(hub.rerunWorkflowFromEvent, { sourceInstanceID: instanceId, eventID: 9, newInstanceID: "n" }),
      ),
    ],
    ["hub terminate", over(() => grpc(hub.terminateInstance, { instanceId }))],
    ["dapr terminate", over(() => grpc(Dapr.method.terminateWorkflowBeta1, instance))],
    ["http terminate", http(`POST ${path}/terminate`)],
    ["hub wait for start", over(() => grpc(hub.waitForInstanceStart, { instanceId }))],
    ["hub wait for end", over(() => grpc(hub.waitForInstanceCompletion, { instanceId }))],
    [
      "hub purge",
      over(() => grpc(hub.purgeInstances, { request: { case: "instanceId", value: instanceId } })),
    ],
    ["dapr purge", over(() => grpc(Dapr.method.purgeWorkflowBeta1, instance))],
    ["http purge", http(`POST ${path}/purge`)],
  ];
}

async function deniedAt(mecha: TestMecha, instanceId: string): Promise<string[]> {
  const denied: string[] = [];
  for (const [name, isDenied] of doors(mecha, instanceId)) if (await isDenied()) denied.push(name);
  return denied;
}

const waits = { workflow: () => [] };

function work(
  mecha: TestMecha,
  appId: string,
  script: ConstructorParameters<typeof ScriptedWorker>[1],
): void {
  const worker = new ScriptedWorker(mecha.ports(appId).grpc, script);
  closers.push(() => {
    worker.leave();
    worker.close();
  });
}

test("every verb through every door is judged by the workflow that an instance is of", async () => {
  const mecha = await start(deny({ workflows: ["vault"], notVerbs: ["start"] }));
  work(mecha, "orders", waits);
  for (const name of ["vault", "open"]) {
    const { status } = await mecha.http(
      "orders",
      `POST /v1.0/workflows/dapr/${name}/start?instanceID=${name}-1`,
    );
    expect(status).toBe(202);
  }
  expect(await deniedAt(mecha, "vault-1")).toEqual(doors(mecha, "vault-1").map(([name]) => name));
  // The first purge lets in; after it there is no instance, which may have been one of the vault's.
  expect(await deniedAt(mecha, "open-1")).toEqual(["dapr purge", "http purge"]);
  // The list would name those of the vault.
  expect((await mecha.http("orders", "GET /v1.0/workflows/dapr/nowhere")).status).toBe(403);
  const list = () => caller(mecha)(TaskHubSidecarService.method.listInstanceIDs, {});
  expect(await list()).toBe("7 RBAC: access denied");
  expect(mecha.log()).toContain("authorization: denied: rule 0");
}, 30_000);

test("starts are judged by name over HTTP and both services, and running again is starting", async () => {
  const mecha = await start(deny({ workflows: ["clo*"], verbs: ["start"] }));
  work(mecha, "orders", { workflow: () => [complete(9, '"ran"')] });
  const grpc = caller(mecha);
  const startOver = (name: string) => [
    mecha.http("orders", `POST /v1.0/workflows/dapr/${name}/start`).then(({ status }) => String(status)),
    grpc(Dapr.method.startWorkflowBeta1, { workflowComponent: "dapr", workflowName: name }),
    grpc(TaskHubSidecarService.method.startInstance, { name }),
  ];
  const denied = "7 RBAC: access denied";
  expect(await Promise.all(startOver("closed"))).toEqual(["403", denied, denied]);
  expect(await Promise.all(startOver("open"))).toEqual(["202", "ok", "ok"]);
  expect((await mecha.http("orders", "GET /v1.0/workflows/dapr/nowhere")).status).toBe(404);
}, 30_000);

test("ALLOW lets in what it names; ids and targets are judged too", async () => {
  const rules = [
    { to: [{ operation: { workflows: ["open"], verbs: ["start", "get"] } }] },
    { to: [{ operation: { workflowIds: ["mine-*"] } }] },
  ];
  const sealed = { targetRefs: [{ kind: "Workflow", name: "sealed" }], action: "DENY" };
  const resources =
    policy({ rules }) + policy({ ...sealed, rules: [{ to: [{ operation: { verbs: ["get"] } }] }] });
  const mecha = await start(resources);
  const status = async (line: string) => (await mecha.http("orders", `${line}`)).status;
  expect(await status("POST /v1.0/workflows/dapr/open/start?instanceID=a")).toBe(202);
  expect(await status("GET /v1.0/workflows/dapr/a")).toBe(200);
  expect(await status("POST /v1.0/workflows/dapr/a/terminate")).toBe(403);
  expect(await status("POST /v1.0/workflows/dapr/other/start?instanceID=b")).toBe(403);
  expect(await status("POST /v1.0/workflows/dapr/other/start?instanceID=mine-b")).toBe(202);
  expect(await status("POST /v1.0/workflows/dapr/mine-b/terminate")).toBe(202);
  expect(await status("POST /v1.0/workflows/dapr/sealed/start?instanceID=mine-c")).toBe(202);
  expect(await status("GET /v1.0/workflows/dapr/mine-c")).toBe(403);
  expect(await status("POST /v1.0/workflows/dapr/mine-c/pause")).toBe(202);
});

const calls = (events: HistoryEvent[], instanceId: string) => {
  const failed = events.find(({ eventType }) => eventType.case === "childWorkflowInstanceFailed")?.eventType;
  if (failed?.case === "childWorkflowInstanceFailed") {
    return [complete(9, JSON.stringify(failed.value.failureDetails?.errorMessage))];
  }
  if (count(events, "childWorkflowInstanceCompleted") > 0) return [complete(9, '"ran"')];
  if (count(events, "childWorkflowInstanceCreated") > 0) return [];
  const started = events.find(({ eventType }) => eventType.case === "executionStarted")?.eventType;
  const name = started?.case === "executionStarted" ? started.value.name : "";
  return [child(1, name, { app: "target", instanceId: `${instanceId}-child` })];
};

test("what other apps ask is judged where the workflow is, by who asks and for what", async () => {
  const may = (appId: string, ...verbs: string[]) => ({
    from: [{ source: { principals: [`public/ns/default/${appId}`] } }],
    to: [{ operation: { workflows: ["open*"], verbs } }],
  });
  const own = { ...may("target"), to: [{ operation: { workflows: ["*"] } }] };
  const rules = [may("friend", "start"), may("boss", "start", "terminate"), own];
  const mecha = await start(policy({ rules }, ["target"]), ["friend", "boss", "stranger", "target"]);
  for (const appId of ["friend", "boss", "stranger"]) {
    work(mecha, appId, { workflow: (events, { instanceId }) => calls(events, instanceId) });
  }
  const isWaiting = ({ eventType }: HistoryEvent) =>
    eventType.case === "executionStarted" && eventType.value.name.endsWith("-waiting");
  work(mecha, "target", { workflow: (events) => (events.some(isWaiting) ? [] : [complete(9, '"ran"')]) });
  const state = async (appId: string, id: string) => {
    const { runtimeStatus = "", properties } = (
      await mecha.http(appId, `GET /v1.0/workflows/dapr/${id}`)
    ).json() as {
      runtimeStatus?: string;
      properties?: Record<string, string>;
    };
    return { runtimeStatus, output: properties?.["dapr.workflow.output"] };
  };
  const begin = (appId: string, name: string) =>
    mecha.http(appId, `POST /v1.0/workflows/dapr/${name}/start?instanceID=${appId}-${name}`);
  const outcome = async (appId: string, name: string) => {
    await begin(appId, name);
    const id = `${appId}-${name}`;
    await until(async () => (await state(appId, id)).runtimeStatus === "COMPLETED", `${id} to end`);
    return (await state(appId, id)).output;
  };
  expect(await outcome("friend", "open")).toBe('"ran"');
  expect(await outcome("friend", "vault")).toContain("access denied");
  expect(await outcome("stranger", "open")).toContain("access denied");
  for (const appId of ["friend", "boss"]) {
    await begin(appId, "open-waiting");
    const id = `${appId}-open-waiting`;
    const isRunning = async () => (await state("target", `${id}-child`)).runtimeStatus === "RUNNING";
    await until(isRunning, "the child to run");
    await mecha.http(appId, `POST /v1.0/workflows/dapr/${id}/terminate`);
  }
  const ended = async () => (await state("target", "boss-open-waiting-child")).runtimeStatus === "TERMINATED";
  await until(ended, "the boss to end its child");
  await until(
    () => mecha.log().includes('"operation":"terminate"') || /operation=terminate/.test(mecha.log()),
    "the log to say so",
  );
  expect((await state("target", "friend-open-waiting-child")).runtimeStatus).toBe("RUNNING");
}, 60_000);
