import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { temporaryFolder } from "../contract/component-host.ts";
import { startMoto, type TestMoto } from "../contract/moto.ts";
import { freePort, mecha } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";
import { signalTree } from "../signal-tree.ts";

interface Check {
  name: string;
  result: string;
  detail: string;
  fix?: string;
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let redis: Service;
let frozen: Service;
let moto: TestMoto;
beforeAll(async () => {
  folder = await temporaryFolder();
  redis = await startService("redis", { options: { requirepass: "the-real-password" } });
  frozen = await startService("redis");
  moto = await startMoto();
  const client = new S3Client({ ...moto.client, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: "there" }));
}, 300_000);
afterAll(async () => {
  signalTree(frozen.pid, "CONT");
  await Promise.all([redis.stop(), frozen.stop(), moto.stop()]);
  await folder.remove();
});

const component = (name: string, type: string, items: Record<string, string>, more = ""): string => `---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec:
  type: ${type}
  version: v1
  metadata:
${Object.entries(items)
  .map(
    ([key, value]) =>
      `    - { name: ${key}, ${value.startsWith("secretKeyRef") ? value : `value: "${value}"`} }\n`,
  )
  .join("")}${more}`;

test("mecha doctor asks the servers of components, and says what to do about those that do not answer", async () => {
  const secrets = join(folder.path, "secrets.json");
  await writeFile(secrets, '{"redis": "the-real-password"}');
  const closed = await freePort();
  const s3 = { region: "us-east-1", accessKey: "test", secretKey: "secret", forcePathStyle: "true" };
  const endpoint = moto.client.endpoint;
  const password = "secretKeyRef: { name: redis, key: redis }";
  const nobody = component("nobody", "lock.redis", { redisHost: `127.0.0.1:${closed}` });
  const resources = join(folder.path, "resources.yaml");
  await writeFile(
    resources,
    [
      component("file", "secretstores.local.file", { secretsFile: secrets }),
      component(
        "good",
        "state.redis",
        { redisHost: `127.0.0.1:${redis.port}`, redisPassword: password },
        "auth: { secretStore: file }\nscopes: [orders]\n",
      ),
      component("wrong-password", "pubsub.redis", {
        redisHost: `127.0.0.1:${redis.port}`,
        redisPassword: "a-wrong-password",
      }),
      nobody,
      component("bucket", "bindings.aws.s3", { ...s3, endpoint, bucket: "there" }),
      component("no-bucket", "bindings.aws.s3", { ...s3, endpoint, bucket: "not-there" }),
      component("nothing-there", "bindings.http", { url: `http://127.0.0.1:${closed}` }),
      component("something-there", "bindings.http", { url: endpoint }),
      component("own", "state.mecha", { actorStateStore: "true" }),
    ].join(""),
  );
  const doctor = (...words: string[]) => mecha(["doctor", ...words, "--data-dir", join(folder.path, "data")]);
  // All of them answer: a busy machine has the time that it needs.
  const { code, output } = await doctor(resources, "--timeout", "30s", "--json");
  const checks = (JSON.parse(output) as Check[]).filter(({ name }) => name.startsWith("component "));
  const of = (name: string) => checks.find((check) => check.name === `component ${name}`);
  expect(code).toBe(1);
  const results = Object.fromEntries(checks.map(({ name, result }) => [name.slice(10), result]));
  expect(results).toEqual({
    ...{ file: "pass", good: "pass", "wrong-password": "fail", nobody: "fail" },
    ...{ bucket: "pass", "no-bucket": "fail", "nothing-there": "fail", "something-there": "pass" },
  });
  expect(of("good")?.detail).toContain("state.redis is reachable");
  expect(of("wrong-password")).toMatchObject({
    detail: expect.stringContaining("WRONGPASS"),
    fix: "see its metadata",
  });
  for (const name of ["nobody", "nothing-there"]) {
    expect(of(name)?.detail).toContain("ECONNREFUSED");
    expect(of(name)?.fix).toContain("start its server");
  }
  expect(of("nobody")?.detail).toMatch(/resources\.yaml:\d+:\d+/);
  expect(output).not.toMatch(/the-real-password|a-wrong-password/);

  const silent = join(folder.path, "silent.yaml");
  await writeFile(
    silent,
    nobody + component("still", "state.redis", { redisHost: `127.0.0.1:${frozen.port}` }),
  );
  signalTree(frozen.pid, "STOP");
  const shown = await doctor(silent, "--timeout", "2s");
  expect(shown.code).toBe(1);
  for (const row of ["nobody +lock", "still +state"]) {
    const pattern = `fail +component ${row}\\.redis: .*; start its server, or correct its address`;
    expect(shown.output).toMatch(new RegExp(pattern));
  }
}, 60_000);

test("mecha doctor takes no resources that can not be read, and no time that is none", async () => {
  const path = join(folder.path, "bad.yaml");
  await writeFile(path, "kind: [");
  const bad = await mecha(["doctor", path, "--json"]);
  expect(bad.code).toBe(1);
  expect(bad.output).toContain("bad.yaml:1:");
  const time = await mecha(["doctor", path, "--timeout", "soon"]);
  expect(time.code).toBe(2);
  expect(time.output).toContain("soon");
});
