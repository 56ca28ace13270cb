// A worker that outlives its runtime: it writes a line for each execution of a step, then the step is done.
import { appendFileSync } from "node:fs";
import { WorkflowRuntime } from "@dapr/dapr";

const [file, port] = process.argv.slice(2);
const quiet = { log() {}, info() {}, warn() {}, error() {}, verbose() {}, debug() {} };
const runtime = new WorkflowRuntime({
  daprHost: "127.0.0.1",
  daprPort: port,
  logger: { service: quiet },
});

async function step(_, { id, number }) {
  appendFileSync(file, `${Date.now()} ${id} ${number}\n`);
  return number;
}

async function* steps(ctx, count) {
  const id = ctx.getWorkflowInstanceId();
  let sum = 0;
  for (let number = 1; number <= count; number++) sum += yield ctx.callActivity(step, { id, number });
  return sum;
}

runtime.registerWorkflow(steps).registerActivity(step);
for (;;) {
  try {
    await runtime.start();
    break;
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
