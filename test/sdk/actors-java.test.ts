import { test } from "bun:test";
import { join } from "node:path";
import { expectActors } from "./actor-cases.ts";
import { mavenPackage } from "./toolchain.ts";

const absent = {
  "actor-state-ttl": "the state manager sets no time to live",
  "actor-reentrancy": "the app passes no reentrancy id on",
};

test.each([false, true])(
  "actors of the Java SDK (a runtime process per app: %p)",
  async (sidecars) => {
    const { java, classPath } = await mavenPackage(join(import.meta.dirname, "actors/java"));
    // What costs least to start: the programs live for seconds.
    const flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];
    const command = [java, ...flags, "-cp", classPath, "run.mecha.test.Program"];
    const roles = { http: [...command, "http"], client: [...command, "client"] };
    await expectActors({ language: "java-actors", roles, sidecars }, absent);
  },
  600_000,
);
