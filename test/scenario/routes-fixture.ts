import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AppHandler } from "../../src/testing/fake-app.ts";
import {
  type FakeApp,
  fakeApp,
  type HttpAnswer,
  startMecha,
  type TestMecha,
} from "../../src/testing/index.ts";
import type { Cleanup } from "../mecha-process.ts";

/** A runtime with the app `caller`, backends `infra-v1` to `infra-v3`, and routes that calls of `infra` go through. */
export interface RoutesWorld {
  mecha: TestMecha;
  backends: Record<"v1" | "v2" | "v3", FakeApp>;
  /** Calls `infra` from `caller`. */
  call(line: string, headers?: Record<string, string>, body?: string | object): Promise<HttpAnswer>;
  /** The backend that answered, or the status of who answered instead. */
  backendOf(line: string, headers?: Record<string, string>): Promise<string | number>;
  /** Replaces the resources. */
  write(...documents: string[]): void;
  folder: string;
}

export async function openRoutes(
  cleanup: Cleanup,
  documents: readonly string[],
  answer?: AppHandler,
): Promise<RoutesWorld> {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (...texts: string[]): void =>
    writeFileSync(join(folder, "routes.yaml"), texts.join("\n---\n"));
  write(...documents);
  const start = async (name: string): Promise<FakeApp> => {
    const app = await fakeApp({
      otherwise: async (request) => ({
        headers: { "X-Backend": name },
        body: name,
        ...(await answer?.(request)),
      }),
    });
    cleanup.add(() => app.close());
    return app;
  };
  const backends = { v1: await start("v1"), v2: await start("v2"), v3: await start("v3") };
  // With a token the API takes calls of web pages too.
  const options = { resourcesPaths: [folder], apiToken: "t" };
  const apps = Object.entries(backends).map(([name, app]) => ({ appId: `infra-${name}`, app }));
  const mecha = await startMecha({ apps: [{ appId: "caller", options }, ...apps] });
  cleanup.add(() => mecha.stop());
  const call: RoutesWorld["call"] = (line, headers = {}, body) => {
    const [method, target] = line.split(" ");
    const request = { headers: { ...headers, "dapr-api-token": "t" }, ...(body !== undefined && { body }) };
    return mecha.http("caller", `${method} /v1.0/invoke/infra/method${target}`, request);
  };
  const backendOf: RoutesWorld["backendOf"] = async (line, headers) => {
    const answered = await call(line, headers);
    return answered.header("x-backend") ?? answered.status;
  };
  return { mecha, backends, call, backendOf, write, folder };
}

/** An HTTPRoute of `infra` whose rules are written as YAML or JSON. */
export function httpRoute(rules: string | object, name = "route", more = ""): string {
  const text = typeof rules === "string" ? rules : JSON.stringify(rules);
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  parentRefs: [{ kind: App, group: mecha.run, name: infra }]
${more}  rules: ${text}`;
}

export const to = (...names: string[]): object[] =>
  names.map((name) => ({ kind: "Service", name: `infra-${name}`, port: 8080 }));
