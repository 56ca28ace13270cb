import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

// AuthorizationPolicy on actors: judged where the actor is, by what its app says, whoever the caller's runtime is.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const policy = {
  apiVersion: "mecha.run/v1alpha1",
  kind: "AuthorizationPolicy",
  metadata: { name: "cats" },
  scopes: ["cats"],
  spec: {
    targetRefs: [{ kind: "ActorType", name: "Cat" }],
    rules: [
      {
        from: [{ source: { principals: ["public/ns/default/shop"] } }],
        to: [{ operation: { actorIds: ["tom"], methods: ["feed"] } }],
      },
      { when: [{ key: "request.headers[x-vet]", values: ["yes"] }] },
    ],
  },
};

/** The policy is the host's alone. */
async function start(
  isShared: boolean,
): Promise<{ callers: TestMecha; fed: () => string[]; log: () => string }> {
  const app = await fakeApp({ config: { entities: ["Cat"] }, otherwise: () => ({ body: "fed" }) });
  closers.push(() => app.close());
  const dataFolder = mkdtempSync(join(tmpdir(), "mecha-actors-"));
  closers.push(() => rmSync(dataFolder, { recursive: true, force: true }));
  const guests = [{ appId: "shop" }, { appId: "stranger" }];
  const resources = JSON.stringify(policy);
  const apps = [{ appId: "cats", app }, ...(isShared ? guests : [])];
  const cats = await startMecha({ resources, dataFolder, apps });
  closers.push(() => cats.stop());
  const callers = isShared ? cats : await startMecha({ dataFolder, apps: guests });
  if (!isShared) closers.push(() => callers.stop());
  const isHosted = async () => (await cats.http("cats", "GET /v1.0/metadata")).text.includes('"type":"Cat"');
  await until(isHosted, "the type to be hosted");
  const fed = () => app.requests.flatMap(({ target }) => /Cat\/(\w+\/method\/\w+)/.exec(target)?.[1] ?? []);
  return { callers, fed, log: () => cats.log() };
}

for (const isShared of [true, false]) {
  test(`a call is judged at the actor's host, ${isShared ? "within one process" : "between two"}`, async () => {
    const { callers, fed, log } = await start(isShared);
    const call = async (appId: string, path: string, headers = {}) => {
      const answer = await callers.http(appId, `POST /v1.0/actors/Cat/${path}`, { headers });
      return answer.status === 200 ? 200 : [answer.status, answer.json()];
    };
    const denied = [403, { errorCode: "ERR_ACCESS_DENIED", message: "RBAC: access denied" }];
    expect(await call("shop", "tom/method/feed")).toBe(200);
    expect(await call("shop", "tom/method/pet")).toMatchObject(denied);
    expect(await call("shop", "tim/method/feed")).toMatchObject(denied);
    expect(await call("stranger", "tom/method/feed")).toMatchObject(denied);
    expect(await call("stranger", "tom/method/heal", { "x-vet": "yes" })).toBe(200);
    expect(fed()).toEqual(["tom/method/feed", "tom/method/heal"]);
    expect(log()).toContain("authorization: denied");
    const { input } = Dapr.method.invokeActor;
    const client = createGrpcClient({ host: "127.0.0.1", port: callers.ports("stranger").grpc });
    closers.push(() => client.close());
    const bytes = toBinary(input, create(input, { actorType: "Cat", actorId: "tom", method: "feed" }));
    const outcome = client.unary("/dapr.proto.runtime.v1.Dapr/InvokeActor", bytes);
    expect(await outcome.catch((error: Error & { code: number }) => `${error.code} ${error.message}`)).toBe(
      "7 RBAC: access denied",
    );
  }, 30_000);
}
