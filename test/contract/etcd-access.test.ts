import { afterAll, beforeAll, expect, test } from "bun:test";
import configuration from "../../src/components/configuration/etcd.ts";
import lock from "../../src/components/lock/etcd.ts";
import values from "../../src/components/state/etcd.ts";
import state from "../../src/components/state/etcd.v2.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startEtcd, type TestEtcd } from "./etcd.ts";
import { put, rejection, textAt } from "./state.ts";
import { type TlsFiles, tlsFiles } from "./tls-files.ts";

let files: TlsFiles;
let server: TestEtcd;
let access: Record<string, string>;
beforeAll(async () => {
  // With a CommonName etcd's gateway refuses it, where there are users too.
  files = await tlsFiles("/O=orders");
  const { ca, leaf } = files;
  server = await startEtcd({ ...files.paths }, { ca, ...leaf });
  for (const name of ["root", "orders"]) {
    await server.ask("auth/user/add", { name, password: `secret of ${name}` });
    await server.ask("auth/role/add", { name });
    await server.ask("auth/user/grant", { user: name, role: name });
  }
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const perm = { permType: "READWRITE", key: base64("orders/"), range_end: base64("orders0") };
  await server.ask("auth/role/grant", { name: "orders", perm });
  await server.ask("auth/enable", {});
  const secure = { tlsEnable: "true", ca, cert: leaf.cert, key: leaf.key, keyPrefixPath: "orders" };
  access = { ...secure, username: "orders", password: "secret of orders" };
}, 300_000);
afterAll(async () => {
  await server.stop();
  await files.remove();
});

const open = (items: Record<string, string> = {}) =>
  state.open(server.options(state, { ...access, ...items }), componentHost());

test("components on etcd come with TLS and a login, and log in again when the server has forgotten them", async () => {
  const store = await open();
  await store.set(put("key", "1"));
  await server.server.kill();
  await server.server.start();
  const together = Array.from({ length: 10 }, (_, index) => store.set(put(`key ${index}`, "2")));
  await Promise.all(together);
  expect(await textAt(store, "key")).toBe("1");
  expect(await textAt(store, "key 9")).toBe("2");
  await store.close();
  const locks = await lock.open(
    server.options(lock, { ...access, keyPrefixPath: "orders/" }),
    componentHost(),
  );
  expect(await locks.tryLock("a", "me", 30)).toBePositive();
  await locks.close();
}, 60_000);

test("a subscription to configuration goes on when its login has ended, and tells of what came meanwhile", async () => {
  const writer = await values.open(server.options(values, access), componentHost());
  const items = await configuration.open(server.options(configuration, access), componentHost());
  const seen: string[] = [];
  await items.subscribe(["limit"], {}, ({ limit }) => void seen.push(limit?.value ?? ""));
  await writer.set(put("limit", "1"));
  await eventually("the first change is told", () => seen.includes("1"));
  await server.server.kill();
  await server.server.start();
  await writer.set(put("limit", "2"));
  await eventually("the second change is told", () => seen.includes("2"));
  // Every change of the users makes logins too old.
  const { token } = await server.ask("auth/authenticate", { name: "root", password: "secret of root" });
  await server.ask("auth/user/add", { name: "later", password: "x" }, token);
  await writer.set(put("limit", "3"));
  await eventually("the third change is told", () => seen.includes("3"));
  expect(seen).toEqual(["1", "2", "3"]);
  await items.close();
  await writer.close();
}, 60_000);

test("the wrong password, somebody else's keys and half of what is needed are refused by name", async () => {
  expect(String(await rejection(open({ password: "wrong" })))).toContain("authentication failed");
  const store = await open({ keyPrefixPath: "others" });
  expect(String(await rejection(store.set(put("key", "x"))))).toContain("permission denied");
  await store.close();
  expect(String(await rejection(open({ password: "" })))).toContain("username and password");
  expect(String(await rejection(open({ cert: "" })))).toContain("cert and key");
  expect(String(await rejection(open({ tlsEnable: "false" })))).toContain("tlsEnable");
  const endpoints = `http://127.0.0.1:${server.server.port}`;
  expect(String(await rejection(open({ endpoints })))).toContain("endpoints");
  // Who signed the server's certificate is not known.
  expect(String(await rejection(open({ ca: "" })))).toMatch(/certificate/i);
});
