import { test } from "bun:test";
import { join } from "node:path";
import { expectWorkflows } from "./workflow-cases.ts";

const absent = {
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
};

test("workflows of the JavaScript SDK", async () => {
  const folder = join(import.meta.dirname, "workflow");
  await expectWorkflows({ language: "javascript", folder }, ["node", join(folder, "javascript.mjs")], absent);
}, 120_000);
