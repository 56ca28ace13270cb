import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import {
  CreateBucketCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { Binding, BindingReply } from "../../src/component/binding.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import s3 from "../../src/components/bindings/aws.s3.ts";
import { signalTree } from "../signal-tree.ts";
import { componentHost } from "./component-host.ts";
import { startMoto, type TestMoto } from "./moto.ts";
import { tlsFiles } from "./tls-files.ts";

let server: TestMoto;
let client: S3Client;
let binding: Binding;
const Bucket = "things";
beforeAll(async () => {
  server = await startMoto();
  client = new S3Client({ ...server.client, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket }));
  binding = await open();
}, 120_000);
afterAll(async () => {
  await binding.close();
  await server.stop();
});

const open = (items: Record<string, string> = {}) =>
  s3.open(server.options(s3, { bucket: Bucket, forcePathStyle: "true", ...items }), componentHost());
const ask = async (
  operation: string,
  metadata: Record<string, string> = {},
  data: unknown = "",
): Promise<BindingReply> => {
  const bytes = Buffer.from(typeof data === "string" ? data : JSON.stringify(data));
  return (await binding.invoke?.({ operation, data: bytes, metadata })) ?? {};
};
const textOf = ({ data = new Uint8Array() }: BindingReply) => Buffer.from(data).toString();
const jsonOf = (reply: BindingReply) => JSON.parse(textOf(reply));
const errorOf = async (asking: Promise<unknown>) => String(await asking.catch((error) => error));

test("creates, gets, lists and deletes objects", async () => {
  const { data, metadata = {} } = await ask("create", {}, "unnamed");
  expect(metadata.key).toMatch(/^[0-9a-f-]{36}$/);
  expect(jsonOf({ data: data as Uint8Array })).toEqual({
    location: `${server.client.endpoint}/things/${metadata.key}`,
    versionID: null,
  });
  const more = {
    "Content-Type": "text/plain",
    storageClass: "STANDARD_IA",
    tags: "stage = test, by=me + you",
  };
  await ask("create", { key: "a/b c.txt", ...more }, '"a JSON text"');
  expect(textOf(await ask("get", { key: "a/b c.txt" }))).toBe("a JSON text");
  const Key = "a/b c.txt";
  expect(await client.send(new HeadObjectCommand({ Bucket, Key }))).toMatchObject({
    ...{ ContentType: "text/plain", StorageClass: "STANDARD_IA" },
  });
  const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket, Key }));
  expect(TagSet).toEqual([
    { Key: "stage", Value: "test" },
    { Key: "by", Value: "me + you" },
  ]);
  const listed = jsonOf(await ask("list", {}, { prefix: "a/", maxResults: 10 }));
  expect(listed.Contents.map((one: { Key: string }) => one.Key)).toEqual([Key]);
  expect(listed).toMatchObject({ Name: Bucket, Prefix: "a/", IsTruncated: false });
  expect(jsonOf(await ask("list", {}, { delimiter: "/" })).CommonPrefixes).toEqual([{ Prefix: "a/" }]);
  await ask("delete", { key: Key });
  expect(await errorOf(ask("get", { key: Key }))).toContain("object not found");
});

test("base64, on both ways; many bytes as they are", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await ask("create", { key: "binary", decodeBase64: "true" }, bytes.toString("base64"));
  expect(Buffer.from((await ask("get", { key: "binary" })).data ?? []).equals(bytes)).toBe(true);
  expect(textOf(await ask("get", { key: "binary", encodeBase64: "true" }))).toBe(bytes.toString("base64"));
  expect(await errorOf(ask("create", { key: "x", decodeBase64: "true" }, "no base64!"))).toContain("base64");
  const large = Buffer.alloc(20 << 20, "large ");
  await binding.invoke?.({ operation: "create", data: large, metadata: { key: "large" } });
  expect(large.equals((await ask("get", { key: "large" })).data ?? Buffer.of())).toBe(true);
}, 60_000);

test("signs addresses that read an object", async () => {
  await ask("create", { key: "signed" }, "for you");
  const { presignURL } = jsonOf(await ask("presign", { key: "signed", presignTTL: "1m" }));
  expect(presignURL).toContain("X-Amz-Expires=60");
  expect(await (await fetch(presignURL)).text()).toBe("for you");
  const created = jsonOf(await ask("create", { key: "signed too", presignTTL: "2m" }, "also"));
  expect(await (await fetch(created.presignURL)).text()).toBe("also");
  for (const [presignTTL, said] of [
    ["", "presignTTL"],
    ["soon", "soon"],
    ["8d", "presignTTL"],
  ] as const)
    expect(await errorOf(ask("presign", { key: "signed", presignTTL }))).toContain(said);
});

test("bulk operations say of each item what became of it", async () => {
  const items = Array.from({ length: 25 }, (_, index) => ({ key: `bulk/${index}`, data: `${index}` }));
  const created = jsonOf(await ask("bulkCreate", {}, { items: [...items, { key: "" }, { key: "none" }] }));
  expect(created).toHaveLength(27);
  expect(created[3]).toEqual({ key: "bulk/3", location: `${server.client.endpoint}/things/bulk/3` });
  expect(created.slice(25)).toEqual([
    { key: "", error: "key is required" },
    { key: "none", error: "data is required" },
  ]);
  const read = [{ key: "bulk/7" }, { key: "absent" }, { key: "bulk/8", filePath: "/tmp/x" }];
  const got = jsonOf(await ask("bulkGet", {}, { items: read, concurrency: 2 }));
  expect(got.slice(0, 2)).toEqual([
    { key: "bulk/7", data: "7" },
    { key: "absent", error: "object not found" },
  ]);
  expect(got[2].error).toContain("filePath");
  const keys = [...items.map(({ key }) => key), " ", "bulk/1"];
  const deleted = jsonOf(await ask("bulkDelete", {}, { keys }));
  expect(deleted).toHaveLength(27);
  expect(deleted.filter(({ error }: { error?: string }) => error)).toEqual([
    { key: " ", error: "key is required" },
  ]);
  expect(jsonOf(await ask("list", {}, { prefix: "bulk/" })).Contents).toEqual([]);
  for (const [operation, data] of [
    ["bulkGet", { items: [] }],
    ["bulkGet", { items: [{ key: "a" }], concurrency: 0 }],
    ["bulkDelete", {}],
  ] as const)
    expect(await errorOf(ask(operation, {}, data))).toMatch(/at least one|greater than 0/);
});

test("says what it can not do", async () => {
  expect(await errorOf(ask("get"))).toContain("key");
  expect(await errorOf(ask("move"))).toContain("move");
  expect(await errorOf(ask("create", { filePath: "/etc/passwd" }))).toContain("filePath");
  expect(await errorOf(ask("create", { key: "x", tags: "none" }))).toContain("none");
  expect(await errorOf(ask("list", {}, { prefix: 1 }))).toContain("prefix");
  const elsewhere = await open({ bucket: "nowhere" });
  const reading = elsewhere.invoke?.({ operation: "list", data: Buffer.of(), metadata: {} });
  expect(await errorOf(reading as Promise<unknown>)).toContain("NoSuchBucket");
  await elsewhere.close();
});

test("reads no more than its limit, also of a server that does not say how much there is", async () => {
  let sent = 0;
  const endless = createPlainServer((request, response) => {
    if (request.url?.endsWith("long?x-id=GetObject")) response.setHeader("content-length", 2 ** 31);
    const block = Buffer.alloc(1 << 20);
    const more = (): void => {
      while (!response.destroyed) {
        sent++;
        if (!response.write(block)) return void response.once("drain", more);
      }
    };
    more();
  });
  await new Promise<void>((listening) => endless.listen(0, "127.0.0.1", listening));
  const endpoint = `http://127.0.0.1:${(endless.address() as { port: number }).port}`;
  const one = await open({ endpoint });
  const get = async (key: string) =>
    errorOf(Promise.resolve(one.invoke?.({ operation: "get", data: Buffer.of(), metadata: { key } })));
  expect(await get("long")).toContain(`has ${2 ** 31} bytes`);
  expect(sent).toBeLessThan(100);
  expect(await get("endless")).toContain("more than 268435456 bytes");
  expect(sent).toBeLessThan(400);
  await one.close();
  endless.close();
}, 60_000);

test("ends in time when the server is frozen, and takes any certificate only when it is told to", async () => {
  const hasty = await open({ timeout: "500ms" });
  signalTree(server.server.pid, "STOP");
  const write = await hasty
    .invoke?.({ operation: "create", data: Buffer.from("x"), metadata: { key: "late" } })
    .catch((error) => error);
  signalTree(server.server.pid, "CONT");
  expect(write).toBeInstanceOf(ServerUnavailable);
  expect((write as unknown as ServerUnavailable).outcome).toBe("unknown");
  await hasty.close();
  const files = await tlsFiles();
  const tls = { cert: readFileSync(files.paths.tlsCert), key: readFileSync(files.paths.tlsKey) };
  const secure = createServer(tls, (_, response) => response.end("by TLS"));
  await new Promise<void>((listening) => secure.listen(0, "127.0.0.1", listening));
  const endpoint = `127.0.0.1:${(secure.address() as { port: number }).port}`;
  const answers: string[] = [];
  for (const insecureSSL of ["false", "true"]) {
    const one = await open({ endpoint, insecureSSL, timeout: "2s" });
    const reading = one.invoke?.({ operation: "get", data: Buffer.of(), metadata: { key: "any" } });
    answers.push(await (reading as Promise<BindingReply>).then(textOf, String));
    await one.close();
  }
  secure.close();
  await files.remove();
  expect(answers[0]).toMatch(/certificate/i);
  expect(answers[1]).toBe("by TLS");
}, 60_000);
