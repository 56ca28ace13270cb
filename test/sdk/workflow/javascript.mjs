// The workflow scenarios in JavaScript, on @dapr/dapr as npm ships it: worker of two apps and client in one process.
import { setTimeout as sleep } from "node:timers/promises";
import { DaprWorkflowClient, WorkflowRuntime } from "@dapr/dapr";

const quiet = { log() {}, info() {}, warn() {}, error: console.error, verbose() {}, debug() {} };
const options = {
  daprHost: "127.0.0.1",
  daprPort: process.env.DAPR_GRPC_PORT,
  logger: { service: quiet },
};
const client = new DaprWorkflowClient(options);
const calls = new Map();
const count = (name) => calls.set(name, (calls.get(name) ?? 0) + 1);

async function double(_, input) {
  count("double");
  return input * 2;
}

async function fail(_, input) {
  count("fail");
  throw new Error(`no ${input}`);
}

async function undo(_, input) {
  count(`undo-${input}`);
  return input;
}

async function* chain(ctx, input) {
  const one = yield ctx.callActivity(double, input);
  const two = yield ctx.callActivity(double, one);
  return yield ctx.callActivity(double, two);
}

async function* fan(ctx, input) {
  const tasks = Array.from({ length: input }, (_, index) => ctx.callActivity(double, index));
  const all = yield ctx.whenAll(tasks);
  return all.reduce((sum, each) => sum + each, 0);
}

async function* monitor(ctx, polls) {
  ctx.setCustomStatus(`left ${polls}`);
  if (polls === 1) return "healthy";
  yield ctx.callActivity(double, polls);
  yield ctx.createTimer(0.05);
  ctx.continueAsNew(polls - 1, true);
}

async function* approval(ctx, seconds) {
  const approved = ctx.waitForExternalEvent("approved");
  const timeout = ctx.createTimer(seconds);
  const first = yield ctx.whenAny([approved, timeout]);
  return first === timeout ? "timed out" : `approved by ${approved.getResult()}`;
}

async function* saga(ctx) {
  const done = [];
  try {
    for (const step of ["flight", "hotel"]) {
      yield ctx.callActivity(double, 1);
      done.push(step);
    }
    yield ctx.callActivity(fail, "car");
  } catch {
    for (const step of done.reverse()) yield ctx.callActivity(undo, step);
    return `undone: ${done.join(", ")}`;
  }
}

/** More executions than run in one turn. Counts to 1: the SDK loses an input of 0. */
// biome-ignore lint/correctness/useYield: the SDK takes generators only
async function* spin(ctx, left) {
  if (left === 1) return "done";
  ctx.continueAsNew(left - 1, false);
}

/** Each execution takes one event; those that wait go along to the next. */
async function* collect(ctx, { left, sum }) {
  if (left === 0) return sum;
  const number = yield ctx.waitForExternalEvent("number");
  ctx.continueAsNew({ left: left - 1, sum: sum + number }, true);
}

async function* parent(ctx, input) {
  const child = yield ctx.callChildWorkflow(chain, input);
  return child + 1;
}

async function* broken(ctx) {
  yield ctx.callActivity(double, 1);
  throw new Error("broken by design");
}

async function* numbers(ctx) {
  const first = yield ctx.waitForExternalEvent("number");
  const second = yield ctx.waitForExternalEvent("number");
  return first + second;
}

async function worker() {
  const runtime = new WorkflowRuntime(options);
  const workflows = [chain, fan, monitor, approval, saga, parent, broken, numbers, spin, collect];
  for (const workflow of workflows) runtime.registerWorkflow(workflow);
  for (const activity of [double, fail, undo]) runtime.registerActivity(activity);
  await runtime.start();
  return runtime;
}

let runtime = await worker();

async function run(workflow, input) {
  const id = await client.scheduleNewWorkflow(workflow, input);
  return end(id);
}

async function end(id) {
  const state = await client.waitForWorkflowCompletion(id, true, 30);
  const output = state.serializedOutput;
  return { id, status: state.runtimeStatus, output: output ? JSON.parse(output) : undefined, state };
}

function same(actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`expected ${b}, got ${a}`);
}

async function check(name, work) {
  try {
    await work();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${String(error.message ?? error).replaceAll("\n", " ")}`);
  }
}

await check("chain", async () => same((await run(chain, 1)).output, 8));
await check("fan-out", async () => same((await run(fan, 30)).output, 870));
await check("monitor", async () => same((await run(monitor, 3)).output, "healthy"));
await check("approval", async () => {
  const id = await client.scheduleNewWorkflow(approval, 60);
  await client.raiseEvent(id, "approved", "Ada");
  same((await end(id)).output, "approved by Ada");
});
await check("approval-timeout", async () => same((await run(approval, 0.2)).output, "timed out"));
await check("saga", async () => {
  same((await run(saga)).output, "undone: hotel, flight");
  same([calls.get("undo-hotel"), calls.get("undo-flight")], [1, 1]);
});
await check("continue-as-new", async () => same((await run(spin, 50)).output, "done"));
await check("carry-over", async () => {
  const id = await client.scheduleNewWorkflow(collect, { left: 3, sum: 0 });
  await client.suspendWorkflow(id);
  for (const number of [1, 2, 4]) await client.raiseEvent(id, "number", number);
  await client.resumeWorkflow(id);
  same((await end(id)).output, 7);
});
await check("child", async () => same((await run(parent, 2)).output, 17));
await check("failed", async () => {
  const { state } = await run(broken);
  same(state.runtimeStatus, 3);
  if (!/broken by design/.test(state.workflowFailureDetails?.getErrorMessage?.() ?? "")) {
    throw new Error("the failure is not told");
  }
});
await check("early-events", async () => {
  const id = await client.scheduleNewWorkflow(numbers);
  await client.raiseEvent(id, "number", 1);
  await client.raiseEvent(id, "number", 2);
  same((await end(id)).output, 3);
});
await check("suspend", async () => {
  const id = await client.scheduleNewWorkflow(numbers);
  await client.suspendWorkflow(id);
  same((await client.getWorkflowState(id, false)).runtimeStatus, 7);
  await client.raiseEvent(id, "number", 1);
  await client.raiseEvent(id, "number", 2);
  await sleep(100);
  same((await client.getWorkflowState(id, false)).runtimeStatus, 7);
  await client.resumeWorkflow(id);
  same((await end(id)).output, 3);
});
await check("terminate", async () => {
  const id = await client.scheduleNewWorkflow(numbers);
  await client.terminateWorkflow(id, "enough");
  const { state, output } = await end(id);
  same([state.runtimeStatus, output], [5, "enough"]);
});
await check("purge", async () => {
  const { id } = await run(chain, 1);
  same(await client.purgeWorkflow(id), true);
  same(await client.getWorkflowState(id, false), undefined);
});
await check("delayed-start", async () => {
  const startAt = new Date(Date.now() + 1500);
  const id = await client.scheduleNewWorkflow(chain, 1, undefined, startAt);
  same((await client.getWorkflowState(id, false)).runtimeStatus, 6);
  same((await end(id)).output, 8);
  if (Date.now() < startAt.getTime()) throw new Error("it started early");
});
await check("duplicate", async () => {
  const id = await client.scheduleNewWorkflow(numbers);
  const again = await client.scheduleNewWorkflow(numbers, undefined, id).then(
    () => "accepted",
    (error) => error.message,
  );
  if (!/already exists/.test(again)) throw new Error(again);
  await client.terminateWorkflow(id, "");
});
await check("reuse", async () => {
  const { id } = await run(chain, 1);
  await client.scheduleNewWorkflow(chain, 2, id);
  same((await end(id)).output, 16);
});
await check("reconnect", async () => {
  const id = await client.scheduleNewWorkflow(numbers);
  await runtime.stop();
  await client.raiseEvent(id, "number", 1);
  await client.raiseEvent(id, "number", 2);
  runtime = await worker();
  same((await end(id)).output, 3);
});
for (const [name, reason] of Object.entries({
  "terminate-recursive": "the client ends the instance alone",
  "purge-recursive": "the client purges the instance alone",
  retry: "a call of an activity takes no retry policy",
  "multi-app-activity": "a call of an activity takes no app",
  "multi-app-child": "a call of a child takes no app",
  "handed-history": "the context hands no history on",
  patch: "the context knows no patches",
  version: "a worker registers no versions",
  stalled: "a worker registers no versions",
  list: "the client does not list",
  history: "the client reads no histories",
  "history-deltas": "the worker keeps no histories",
  rerun: "the client does not rerun",
}))
  console.log(`skip ${name}: ${reason}`);
await client.stop();
await runtime.stop();
process.exit(0);
