import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeApp, startMecha, type TestApp, type TestMecha } from "../../src/testing/index.ts";

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(
  more = "",
  options: TestApp["options"] = {},
): Promise<{ mecha: TestMecha; file: string }> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-actors-home-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "state.db");
  const resources = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: state.sqlite
  version: v1
  metadata:
    - { name: actorStateStore, value: "true" }
    - { name: connectionString, value: "${file}" }
${more}
`;
  const app = await fakeApp({ config: { entities: ["Cat"] }, otherwise: () => ({}) });
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "home", app, options }], resources });
  closers.push(() => mecha.stop());
  return { mecha, file };
}

interface Row {
  key: string;
  value: string;
  expiration_time: string | null;
}

function rowsIn(file: string): Row[] {
  const db = new Database(file, { readonly: true });
  const rows = db.query<Row, []>("SELECT key, value, expiration_time FROM state ORDER BY key").all();
  db.close();
  return rows;
}

const state = "/v1.0/actors/Cat/tom/state";
const upsert = (key: string, value: unknown, metadata = {}) => ({
  operation: "upsert",
  request: { key, value, metadata },
});

test("actors' values are rows of Dapr's keys in the user's store, with transactions and TTL", async () => {
  const { mecha, file } = await start('    - { name: keyPrefix, value: "none" }');
  const early = await mecha.http("home", `POST ${state}`, { body: [upsert("mood", 1)] });
  expect([early.status, (early.json() as { errorCode: string }).errorCode]).toEqual([
    400,
    "ERR_ACTOR_INSTANCE_MISSING",
  ]);
  await mecha.http("home", "POST /v1.0/actors/Cat/tom/method/wake");
  const body = [
    upsert("mood", { is: "good" }),
    upsert("old", 1),
    upsert("brief", "bye", { ttlInSeconds: "60" }),
  ];
  expect((await mecha.http("home", `POST ${state}`, { body })).status).toBe(204);
  const second = [{ operation: "delete", request: { key: "old" } }, upsert("mood", "better")];
  expect((await mecha.http("home", `POST ${state}`, { body: second })).status).toBe(204);
  const rows = rowsIn(file);
  const row = (key: string) => rows.find((each) => each.key === `home||Cat||tom||${key}`);
  expect(rows.map(({ key }) => key)).toEqual(
    ["brief", "mecha-owner", "mood"].map((key) => `home||Cat||tom||${key}`),
  );
  expect(Buffer.from(row("mood")?.value ?? "", "base64").toString()).toBe('"better"');
  expect([row("brief")?.expiration_time === null, row("mood")?.expiration_time]).toEqual([false, null]);
  const brief = await mecha.http("home", `GET ${state}/brief`);
  expect(brief.text).toBe('"bye"');
  expect(Date.parse(brief.header("metadata.ttlexpiretime") ?? "")).toBeGreaterThan(Date.now());
  // All or nothing.
  const bad = await mecha.http("home", `POST ${state}`, {
    body: [upsert("mood", "bad"), { operation: "increment", request: { key: "mood" } }],
  });
  expect(bad.status).toBe(500);
  expect((await mecha.http("home", `GET ${state}/mood`)).text).toBe('"better"');
}, 30_000);

test("another activation takes the values over, and encryption reaches them", async () => {
  const { mecha, file } = await start(`    - { name: primaryEncryptionKey, value: "${"00".repeat(32)}" }`);
  const wake = () => mecha.http("home", "POST /v1.0/actors/Cat/tom/method/wake");
  await wake();
  expect((await mecha.http("home", `POST ${state}`, { body: [upsert("mood", "secret")] })).status).toBe(204);
  const owner = () => rowsIn(file).find(({ key }) => key.endsWith("mecha-owner"))?.value;
  const before = owner();
  await mecha.restart();
  await wake();
  expect((await mecha.http("home", `GET ${state}/mood`)).text).toBe('"secret"');
  expect(owner()).not.toBe(before);
  const mood = rowsIn(file).find(({ key }) => key.endsWith("mood"))?.value ?? "";
  expect(Buffer.from(mood, "base64").toString()).toMatch(/^[A-Za-z0-9+/=]+\|\|[0-9a-f]{16}$/);
}, 30_000);

test("under mecha daprd nothing is in the store but what daprd would write", async () => {
  const { mecha, file } = await start("", { isStrict: true, placementHostAddresses: ["127.0.0.1:50005"] });
  await mecha.http("home", "POST /v1.0/actors/Cat/tom/method/wake");
  expect((await mecha.http("home", `POST ${state}`, { body: [upsert("mood", "good")] })).status).toBe(204);
  expect((await mecha.http("home", `GET ${state}/mood`)).text).toBe('"good"');
  expect(rowsIn(file).map(({ key }) => key)).toEqual(["home||Cat||tom||mood"]);
}, 30_000);
