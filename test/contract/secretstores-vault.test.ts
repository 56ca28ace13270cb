import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import type { SecretStore } from "../../src/component/secret-store.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import definition from "../../src/components/secretstores/hashicorp.vault.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { secretStoreContract } from "./secret-store.ts";
import { rejection } from "./state.ts";
import { startVault, type VaultServer } from "./vault-server.ts";

let vault: VaultServer;
beforeEach(async () => {
  vault = await startVault();
  vault.put("dapr/conftestsecret", '{"conftestsecret":"abcd"}');
  vault.put("dapr/secondsecret", '{"secondsecret":"efgh"}');
  return () => vault.close();
});

async function open(items: Record<string, string> = {}): Promise<SecretStore> {
  const all = { vaultAddr: vault.url, vaultToken: "root", timeout: "2s", ...items };
  const values = new Map(Object.entries(all).filter(([, value]) => value !== ""));
  const { options } = parseOptions(definition as unknown as ComponentDefinition<ComponentKind>, values);
  return definition.open(options as never, componentHost());
}

secretStoreContract("secretstores.hashicorp.vault", { answersUnknown: false }, async () => {
  const secrets = await open();
  return { secrets, close: () => secrets.close() };
});

test("a secret has the values of its keys, in the version that is asked for", async () => {
  vault.put("dapr/db", '{"user":"ada","password":"old"}');
  vault.put("dapr/db", '{"user":"ada","password":"new","note":null}');
  const secrets = await open();
  expect([...secrets.features]).toEqual(["MULTIPLE_KEY_VALUES_PER_SECRET"]);
  expect(await secrets.get("db", {})).toEqual({ user: "ada", password: "new", note: "" });
  expect(await secrets.get("db", { version_id: "1" })).toEqual({ user: "ada", password: "old" });
  expect(String(await rejection(secrets.get("db", { version_id: "3" })))).toContain(
    "getSecret db failed secret key or version not exist",
  );
  expect(String(await rejection(secrets.get("db", { version_id: "1&x" })))).toContain('version_id "1&x"');
  // Of the others there is no second version.
  expect(await secrets.bulkGet({ version_id: "2" })).toEqual({
    db: { user: "ada", password: "new", note: "" },
  });
  vault.delete("dapr/db");
  expect(await rejection(secrets.get("db", {}))).toBeInstanceOf(Error);
  expect(Object.keys(await secrets.bulkGet({}))).toEqual(["conftestsecret", "secondsecret"]);
});

test("values other than texts are a secret's JSON as it stands, or refused", async () => {
  vault.put("dapr/odd", '{ "big": 12345678901234567890, "x": "y" }');
  const error = String(await rejection((await open()).get("odd", {})));
  expect(error).toContain('"big" is no text');
  expect(error).not.toContain("1234567");
  const secrets = await open({ vaultValueType: "text" });
  expect([...secrets.features]).toEqual([]);
  expect(await secrets.get("odd", {})).toEqual({ odd: '{ "big": 12345678901234567890, "x": "y" }' });
  expect((await secrets.bulkGet({})).conftestsecret).toEqual({
    conftestsecret: '{"conftestsecret":"abcd"}',
  });
});

test("folders, prefixes and names of any kind; no name leads out of the prefix", async () => {
  vault.put("shop/a/b c?/ü%2f", '{"v":"1"}');
  vault.put("top", '{"v":"2"}');
  vault.put("shop/z", '{"v":"3"}');
  const shop = await open({ vaultKVPrefix: "shop" });
  expect(await shop.get("a/b c?/ü%2f", {})).toEqual({ v: "1" });
  expect(await shop.bulkGet({})).toEqual({ "a/b c?/ü%2f": { v: "1" }, z: { v: "3" } });
  const all = await open({ vaultKVUsePrefix: "false", vaultKVPrefix: "shop" });
  expect(await all.get("top", {})).toEqual({ v: "2" });
  expect(Object.keys(await all.bulkGet({}))).toContain("dapr/secondsecret");
  vault.asked.length = 0;
  for (const name of ["../top", "a/../../top", "./z", "", "/"])
    expect(await rejection(shop.get(name, {}))).toBeInstanceOf(Error);
  expect(vault.asked).toEqual([]);
});

test("many secrets come whole", async () => {
  for (let number = 0; number < 300; number++) vault.put(`many/${number % 7}/${number}`, `{"n":"${number}"}`);
  const found = await (await open({ vaultKVPrefix: "many" })).bulkGet({});
  expect(Object.keys(found).length).toBe(300);
  expect(found["3/10"]).toEqual({ n: "10" });
});

test("another engine path", async () => {
  const other = await startVault({ mount: "team/kv" });
  other.put("dapr/x", '{"v":"1"}');
  expect(await (await open({ vaultAddr: other.url, enginePath: "team/kv" })).get("x", {})).toEqual({
    v: "1",
  });
  const wrong = await open({ vaultAddr: other.url });
  expect(String(await rejection(wrong.bulkGet({})))).toContain("status code: 404");
  other.close();
});

test("a token of a file is read again when the server refuses it", async () => {
  const folder = await temporaryFolder();
  const vaultTokenMountPath = join(folder.path, "token");
  await writeFile(vaultTokenMountPath, "root\n");
  const secrets = await open({ vaultToken: "", vaultTokenMountPath });
  expect(await secrets.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
  vault.token = "next";
  const error = String(await rejection(secrets.get("conftestsecret", {})));
  expect(error).toContain("status code 403");
  expect(error).not.toContain("root");
  await writeFile(vaultTokenMountPath, "next\n");
  expect(await secrets.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
  await folder.remove();
});

test("a sealed server is one that is not there", async () => {
  const secrets = await open();
  vault.isSealed = true;
  expect(await rejection(secrets.get("conftestsecret", {}))).toBeInstanceOf(ServerUnavailable);
  expect(await rejection(secrets.bulkGet({}))).toBeInstanceOf(ServerUnavailable);
  vault.isSealed = false;
  expect(await secrets.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
});

test("is asked for its health, which needs no token", async () => {
  const secrets = await open({ vaultToken: "another" });
  expect(await secrets.ping?.()).toBeUndefined();
  expect(vault.asked).toEqual(["/v1/sys/health"]);
  vault.isSealed = true;
  expect(String(await rejection(secrets.ping?.() as Promise<unknown>))).toContain("it is sealed");
  vault.isSealed = false;
  const other = await open({ vaultAddr: `${vault.url}/other` });
  expect(String(await rejection(other.ping?.() as Promise<unknown>))).toContain("403");
});

test("says what is wrong with its metadata", async () => {
  const cases: [Record<string, string>, string][] = [
    [{ vaultToken: "" }, "token mount path and token not set"],
    [{ vaultTokenMountPath: "/x" }, "token mount path and token both set"],
    [{ vaultToken: "", vaultTokenMountPath: "/none" }, "couldn't read vault token from mount path /none"],
    [{ vaultAddr: "vault:8200" }, 'vaultAddr "vault:8200" is no address'],
    [{ vaultValueType: "list" }, "vaultValueType"],
    [{ caPem: "x" }, "couldn't read PEM of caPem"],
    [{ caCert: "/none" }, "couldn't read CA file /none of caCert"],
    [{ caPath: "/none" }, "couldn't read certificates at caPath /none"],
  ];
  for (const [items, message] of cases) expect(String(await rejection(open(items)))).toContain(message);
});

describe("with TLS", () => {
  const authority = createAuthority("vault");
  let secure: VaultServer;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    secure = await startVault({ tls: authority.leaf });
    secure.put("dapr/x", '{"v":"1"}');
    folder = await temporaryFolder();
    await mkdir(join(folder.path, "ca"));
    await writeFile(join(folder.path, "ca", "ca.pem"), authority.ca);
    await writeFile(join(folder.path, "ca", "other.pem"), createAuthority("other").ca);
  });
  afterAll(async () => {
    secure.close();
    await folder.remove();
  });
  const ask = async (items: Record<string, string>) =>
    (await open({ vaultAddr: secure.url, ...items })).get("x", {});

  test("the server's certificate is checked, by each way to give the authority", async () => {
    const good: Record<string, string>[] = [
      { caPem: authority.ca },
      { caPath: join(folder.path, "ca") },
      { caCert: join(folder.path, "ca", "ca.pem") },
      { caPem: authority.ca, caCert: "/not/read" },
      { caPem: authority.ca, tlsServerName: "localhost" },
      { skipVerify: "true" },
    ];
    for (const items of good) expect(await ask(items)).toEqual({ v: "1" });
    const bad: Record<string, string>[] = [
      {},
      { caCert: join(folder.path, "ca", "other.pem") },
      { caPem: authority.ca, tlsServerName: "vault.example.com" },
    ];
    secure.asked.length = 0;
    for (const items of bad) expect(await rejection(ask(items))).toBeInstanceOf(Error);
    expect(secure.asked).toEqual([]);
  });
});
