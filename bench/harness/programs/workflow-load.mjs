// Worker and client of the JavaScript SDK. Each line of stdin, `COUNT PARALLEL`, runs so many chains of three
// activities, so many at once, and answers with a line: the milliseconds each took, as JSON.
import { createInterface } from "node:readline";
import { DaprWorkflowClient, WorkflowRuntime } from "@dapr/dapr";

const quiet = { log() {}, info() {}, warn() {}, error: console.error, verbose() {}, debug() {} };
const options = { daprHost: "127.0.0.1", daprPort: process.argv[2] ?? "", logger: { service: quiet } };

const add = async (_, value) => value + 1;

async function* chain(ctx, start) {
  let value = start;
  for (let index = 0; index < 3; index++) value = yield ctx.callActivity(add, value);
  return value;
}

const client = new DaprWorkflowClient(options);
const runtime = new WorkflowRuntime(options);
runtime.registerWorkflow(chain).registerActivity(add);
await runtime.start();
process.stdout.write("ready\n");

for await (const line of createInterface({ input: process.stdin })) {
  const [count = 0, parallel = 1] = line.split(" ").map(Number);
  const took = [];
  let left = count;
  const one = async () => {
    while (left-- > 0) {
      const startedMs = performance.now();
      const id = await client.scheduleNewWorkflow(chain, 1);
      const state = await client.waitForWorkflowCompletion(id, true, 30);
      if (state?.serializedOutput !== "4") throw new Error(`a chain ended with ${state?.serializedOutput}`);
      took.push(performance.now() - startedMs);
    }
  };
  await Promise.all(Array.from({ length: parallel }, one));
  process.stdout.write(`${JSON.stringify(took)}\n`);
}
process.exit(0);
