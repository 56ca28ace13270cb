import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { Binding } from "../../src/component/binding.ts";
import blobs from "../../src/components/bindings/azure.blobstorage.ts";
import { startAzurite, type TestAzurite } from "./azurite.ts";
import { componentHost } from "./component-host.ts";
import { rejection } from "./state.ts";

let azurite: TestAzurite;
let binding: Binding;
beforeAll(async () => {
  azurite = await startAzurite();
  binding = await open({});
}, 240_000);
afterAll(async () => {
  await binding.close();
  await azurite.server.stop();
});

function open(items: Record<string, string>): Promise<Binding> {
  const all = { containerName: "files", endpoint: azurite.blobUrl, timeout: "5s", ...items };
  return blobs.open(azurite.options(blobs, all), componentHost());
}
const call = async (
  operation: string,
  metadata: Record<string, string> = {},
  data: string | Uint8Array = "",
  on = binding,
) => {
  const reply = await on.invoke?.({ operation, metadata, data: Buffer.from(data) });
  return { bytes: Buffer.from(reply?.data ?? []), metadata: reply?.metadata ?? {} };
};
const json = async (...args: Parameters<typeof call>) => JSON.parse(String((await call(...args)).bytes));

test("creates, gets and deletes blobs, bytes as they are", async () => {
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) % 256);
  const created = await json("create", { blobName: "a/b c.bin" }, bytes);
  expect(created.blobName).toBe("a/b c.bin");
  expect(created.blobURL).toStartWith(`${azurite.blobUrl}/devstoreaccount1/files/`);
  expect((await call("get", { blobName: "a/b c.bin" })).bytes.equals(Buffer.from(bytes))).toBe(true);
  const made = await call("create", {}, '"text"');
  const blobName = made.metadata.blobName as string;
  expect(String((await call("get", { blobName })).bytes)).toBe("text");
  await call("create", { blobName }, "");
  expect((await call("get", { blobName })).bytes.length).toBe(0);
  await call("delete", { blobName });
  for (const operation of ["get", "delete"])
    expect(String(await rejection(call(operation, { blobName })))).toContain("blob not found");
});

test("metadata are the blob's: headers, names, a checked MD5", async () => {
  const contentMD5 = createHash("md5").update("hello").digest("base64");
  const metadata = { ContentType: "text/x", "my-Name": "vü1", contentMD5, traceparent: "00-a" };
  await call("create", { blobName: "meta", ...metadata }, "hello");
  expect((await call("get", { blobName: "meta" })).metadata).toEqual({});
  const found = await call("get", { blobName: "meta", includeMetadata: "true" });
  expect(Object.entries(found.metadata).map(([name, value]) => [name.toLowerCase(), value])).toEqual([
    ["myname", "v1"],
  ]);
  const wrong = call("create", { blobName: "wrong", contentMD5 }, "other");
  expect(String(await rejection(wrong))).toContain("contentMD5 is not that of the data");
  expect(String(await rejection(call("get", { blobName: "wrong" })))).toContain("blob not found");
});

test("base64 is decoded where that is asked for", async () => {
  const decoding = await open({ decodeBase64: "true" });
  await call("create", { blobName: "decoded" }, Buffer.from([0, 255]).toString("base64"), decoding);
  expect([...(await call("get", { blobName: "decoded" })).bytes]).toEqual([0, 255]);
  expect(String(await rejection(call("create", {}, "no base64!", decoding)))).toContain("no base64");
});

test("lists with a prefix, page by page", async () => {
  const listed = await open({ containerName: "listed" });
  const names = Array.from({ length: 12 }, (_, index) => `${index % 2 === 0 ? "even" : "odd"}/${index}`);
  for (const blobName of names) await call("create", { blobName, kind: "k" }, blobName, listed);
  const ask = async (payload: unknown) => {
    const { bytes, metadata } = await call("list", {}, JSON.stringify(payload), listed);
    return { items: JSON.parse(String(bytes)), metadata };
  };
  const all = await ask(null);
  expect(all.items.map((one: { Name: string }) => one.Name)).toEqual([...names].sort());
  expect(all.metadata).toEqual({ marker: "", number: "12", pagesTraversed: "1" });
  const even = await ask({ prefix: "even/", include: { metadata: true } });
  expect(even.items).toHaveLength(6);
  expect(even.items[0]).toMatchObject({ Metadata: { kind: "k" }, Properties: { ContentLength: 6 } });
  const seen: string[] = [];
  for (let marker = ""; seen.length < 12; ) {
    const page = await ask({ maxResults: 5, marker });
    seen.push(...page.items.map((one: { Name: string }) => one.Name));
    marker = page.metadata.marker as string;
    if (marker === "") break;
  }
  expect(seen).toEqual([...names].sort());
});

test("a signed address gives the blob to whoever has it", async () => {
  const created = await json("create", { blobName: "signed", signTTL: "15m" }, "for all");
  expect(await (await fetch(created.presignURL)).text()).toBe("for all");
  const { presignURL } = await json("presign", { blobName: "signed", signTTL: "1h" });
  expect(await (await fetch(presignURL)).text()).toBe("for all");
  expect((await fetch(created.blobURL)).ok).toBe(false);
});

test("what can not be is refused", async () => {
  const cases: [string, Record<string, string>, string, string][] = [
    ["get", {}, "", "blobName is a required attribute"],
    ["get", { blobName: "x", filePath: "/tmp/x" }, "", "filePath is not known here"],
    ["delete", { blobName: "x", deleteSnapshots: "some" }, "", "invalid delete snapshot option type: some"],
    ["presign", { blobName: "x" }, "", "signTTL is a required attribute"],
    ["presign", { blobName: "x", signTTL: "soon" }, "", 'cannot parse signTTL duration "soon"'],
    ["create", { contentMD5: "x" }, "", "MD5 value must be 128 bits"],
    ["list", {}, "[]", "no JSON object"],
    ["list", {}, '{"prefix":1}', "marker and prefix are texts"],
    ["bulkGet", {}, "", "unsupported operation bulkGet"],
  ];
  for (const [operation, metadata, data, message] of cases)
    expect(String(await rejection(call(operation, metadata, data)))).toContain(message);
  const unmade = await open({ containerName: "unmade", disableEntityManagement: "true" });
  expect(await rejection(call("create", { blobName: "x" }, "x", unmade))).toBeInstanceOf(Error);
});

test("says what is wrong with its metadata; a connection string is enough", async () => {
  const cases: [Record<string, string>, string][] = [
    [{ containerName: "" }, "containerName"],
    [{ accountName: "" }, "missing or empty accountName"],
    [{ accountKey: "" }, "accountKey or connectionString is missing"],
    [{ azureTenantId: "x" }, "only accountKey and connection strings are known"],
    [{ publicAccessLevel: "all" }, "publicAccessLevel"],
    [{ endpoint: "localhost" }, 'the endpoint "localhost" is no address'],
    [{ accountKey: "d3Jvbmc=" }, ""],
  ];
  for (const [items, message] of cases)
    expect(String(await rejection(Promise.resolve().then(() => open(items))))).toContain(message);
  const { accountName, accountKey } = azurite.server.details;
  const parts = { AccountName: accountName, AccountKey: accountKey };
  const endpoint = { BlobEndpoint: `${azurite.blobUrl}/${accountName}` };
  const text = Object.entries({ DefaultEndpointsProtocol: "http", ...parts, ...endpoint });
  const connectionString = text.map(([name, value]) => `${name}=${value}`).join(";");
  const opened = await open({ connectionString, accountName: "", accountKey: "", endpoint: "" });
  await call("create", { blobName: "by-string" }, "x", opened);
  expect(String((await call("get", { blobName: "by-string" })).bytes)).toBe("x");
}, 60_000);
