import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import type { HistoryEvent } from "../../src/wire/orchestrator_service_pb.js";
import {
  type Action,
  child,
  complete,
  count,
  type Script,
  ScriptedWorker,
  schedule,
} from "./workflow-fixture.ts";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Three apps; the policy is `target`'s. */
class Apps {
  readonly #resources: string;
  mecha!: TestMecha;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), "mecha-access-"));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    this.#resources = join(folder, "resources");
    mkdirSync(this.#resources);
  }

  allow(operations: string, activities = "open-*"): void {
    writeFileSync(
      join(this.#resources, "policy.yaml"),
      `apiVersion: dapr.io/v1alpha1
kind: WorkflowAccessPolicy
metadata: { name: policy }
scopes: [target]
spec:
  rules:
    - callers: [{ appID: friend }]
      workflows: [{ name: "open-*", operations: [${operations}] }]
      activities: [{ name: "${activities}" }]
`,
    );
  }

  async start(): Promise<void> {
    const options = {
      resourcesPaths: [this.#resources],
      reconcileIntervalMs: 100,
      enableMetrics: true,
      metricsPort: 0,
    };
    const apps = ["friend", "stranger", "target"].map((appId) => ({ appId, options }));
    this.mecha = await startMecha({ apps });
    closers.push(() => this.mecha.stop());
    this.#work("target", targetScript);
    for (const appId of ["friend", "stranger"]) this.#work(appId, callerScript);
  }

  async run(appId: string, workflow: string): Promise<string> {
    const id = `${appId}-${workflow.replace(":", "-")}-${crypto.randomUUID().slice(0, 8)}`;
    await this.mecha.http(appId, `POST /v1.0/workflows/dapr/${workflow}/start?instanceID=${id}`);
    return id;
  }

  async outcome(appId: string, workflow: string): Promise<string> {
    const id = await this.run(appId, workflow);
    let output = "";
    await until(async () => {
      const { runtimeStatus, properties } = await this.state(appId, id);
      output = properties["dapr.workflow.output"] ?? "";
      return runtimeStatus === "COMPLETED";
    }, `${id} to complete`);
    return output;
  }

  async state(appId: string, id: string) {
    const answer = await this.mecha.http(appId, `GET /v1.0/workflows/dapr/${id}`);
    return answer.json() as { runtimeStatus: string; properties: Record<string, string>; errorCode?: string };
  }

  #work(appId: string, script: Script): void {
    const worker = new ScriptedWorker(this.mecha.ports(appId).grpc, script);
    closers.push(() => {
      worker.leave();
      worker.close();
    });
  }
}

const targetScript: Script = {
  workflow: (events) => (nameOf(events).endsWith("-waiting") ? [] : [complete(9, '"ran"')]),
  activity: () => '"ran"',
};

/** Calls what its name says, at the target, and answers with the result or the kind of the failure. */
const callerScript: Script = {
  workflow(events, { instanceId }) {
    const [kind, ...rest] = nameOf(events).split(":");
    const name = rest.join(":");
    const answer = answerOf(events);
    if (answer !== undefined) return [complete(9, JSON.stringify(answer))];
    if (count(events, "taskScheduled") + count(events, "childWorkflowInstanceCreated") > 0) return [];
    const call: Action =
      kind === "activity"
        ? schedule(1, name, "target")
        : child(1, name, { app: "target", instanceId: `${instanceId}-child` });
    return [call];
  },
};

function nameOf(events: HistoryEvent[]): string {
  for (const { eventType } of events) if (eventType.case === "executionStarted") return eventType.value.name;
  return "";
}

function answerOf(events: HistoryEvent[]): string | undefined {
  for (const { eventType } of events) {
    if (eventType.case === "taskCompleted" || eventType.case === "childWorkflowInstanceCompleted")
      return "ran";
    if (eventType.case === "taskFailed" || eventType.case === "childWorkflowInstanceFailed")
      return `${eventType.value.failureDetails?.errorType}: ${eventType.value.failureDetails?.errorMessage}`;
  }
  return undefined;
}

const ran = '"ran"';
const denied = '"WorkflowAccessPolicyDenied: access denied by workflow access policy"';

test("a policy lets in the apps and names of its rules, and the app itself", async () => {
  const apps = new Apps();
  apps.allow("schedule");
  await apps.start();
  expect(await apps.outcome("friend", "activity:open-door")).toBe(ran);
  expect(await apps.outcome("friend", "child:open-house")).toBe(ran);
  expect(await apps.outcome("friend", "activity:vault")).toBe(denied);
  expect(await apps.outcome("friend", "child:vault")).toBe(denied);
  expect(await apps.outcome("stranger", "activity:open-door")).toBe(denied);
  expect(await apps.outcome("stranger", "child:open-house")).toBe(denied);
  expect(await apps.outcome("target", "vault")).toBe(ran);
  const { metrics } = apps.mecha.ports("target") as unknown as { metrics: number };
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  expect(text).toMatch(
    /acl_action_allowed_total\{app_id="target",operation="schedule",src_app_id="friend",type="activity"\} 1/,
  );
  expect(text).toMatch(
    /acl_action_denied_total\{app_id="target",operation="schedule",src_app_id="stranger",type="workflow"\} 1/,
  );
}, 60_000);

test("who may not terminate or purge leaves another app's child alone, until the policy changes", async () => {
  const apps = new Apps();
  apps.allow("schedule");
  await apps.start();
  const first = await apps.run("friend", "child:open-waiting");
  await until(
    async () => (await apps.state("target", `${first}-child`)).runtimeStatus === "RUNNING",
    "the child to run",
  );
  await apps.mecha.http("friend", `POST /v1.0/workflows/dapr/${first}/terminate`);
  await until(
    async () => (await apps.state("friend", first)).runtimeStatus === "TERMINATED",
    "the parent to end",
  );
  await until(
    () => apps.mecha.log().includes("denied friend to terminate workflow open-waiting"),
    "the termination of the child to be refused",
  );
  expect((await apps.state("target", `${first}-child`)).runtimeStatus).toBe("RUNNING");

  apps.allow("schedule, terminate, purge", "late-*");
  await until(
    async () => (await apps.outcome("friend", "activity:late-riser")) === ran,
    "the policy to change",
    20_000,
  );
  const second = await apps.run("friend", "child:open-waiting");
  const childId = `${second}-child`;
  await until(
    async () => (await apps.state("target", childId)).runtimeStatus === "RUNNING",
    "the child to run",
  );
  await apps.mecha.http("friend", `POST /v1.0/workflows/dapr/${second}/terminate`);
  await until(
    async () => (await apps.state("target", childId)).runtimeStatus === "TERMINATED",
    "the child to end",
    20_000,
  );
  await apps.mecha.http("friend", `POST /v1.0/workflows/dapr/${second}/purge`);
  await until(
    async () => (await apps.state("target", childId)).errorCode === "ERR_INSTANCE_ID_NOT_FOUND",
    "the child to be purged",
  );
}, 60_000);
