import { test } from "bun:test";
import { join } from "node:path";
import { mavenPackage } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

const absent = {
  "terminate-recursive": "the client ends the instance alone",
  "purge-recursive": "the client purges the instance alone",
  "handed-history": "the context hands no history on",
  list: "the client does not list",
  history: "the client reads no histories",
  "history-deltas": "the worker keeps no histories",
  rerun: "the client does not rerun",
};

test("workflows of the Java SDK", async () => {
  const folder = join(import.meta.dirname, "workflow/java");
  const { java, classPath } = await mavenPackage(folder);
  // What costs least to start: the program lives for seconds.
  const flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];
  const command = [java, ...flags, "-cp", classPath, "run.mecha.test.Program"];
  await expectWorkflows({ language: "java", folder }, command, absent);
}, 600_000);
