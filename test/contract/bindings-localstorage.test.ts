import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Binding } from "../../src/component/binding.ts";
import localstorage from "../../src/components/bindings/localstorage.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { rejection } from "./state.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let root: string;
let binding: Binding;
beforeEach(async () => {
  folder = await temporaryFolder();
  root = join(folder.path, "root");
  binding = await localstorage.open({ rootPath: root }, componentHost());
});
afterEach(() => folder.remove());

const invoke = async (operation: string, fileName: string | undefined, data: string | Uint8Array = "") => {
  const metadata: Record<string, string> = fileName === undefined ? {} : { fileName };
  const reply = await binding.invoke?.({ operation, metadata, data: Buffer.from(data) });
  return reply?.data === undefined ? undefined : Buffer.from(reply.data).toString();
};

test("creates, gets, lists and deletes", async () => {
  expect(await invoke("create", "a/b.txt", "hello, file")).toBe('{"fileName":"a/b.txt"}');
  expect(readFileSync(join(root, "a/b.txt"), "utf8")).toBe("hello, file");
  expect(await invoke("get", "a/b.txt")).toBe("hello, file");
  await invoke("create", "a/b.txt", "again!");
  await invoke("create", "c", "");
  expect(JSON.parse((await invoke("list", "")) ?? "")).toEqual([join(root, "a/b.txt"), join(root, "c")]);
  expect(JSON.parse((await invoke("list", "a")) ?? "")).toEqual([join(root, "a/b.txt")]);
  await invoke("delete", "a/b.txt");
  expect(String(await rejection(invoke("get", "a/b.txt")))).toContain("file not found");
});

test("makes up a name, and takes JSON texts and base64 for what they stand for, as Dapr does", async () => {
  const { fileName } = JSON.parse((await invoke("create", undefined, '"in quotes"')) ?? "") as {
    fileName: string;
  };
  expect(fileName).toMatch(/^[0-9a-f-]{36}$/);
  expect(await invoke("get", fileName)).toBe("in quotes");
  await invoke("create", "bytes", Buffer.from("\x00\x01binary").toString("base64"));
  expect(readFileSync(join(root, "bytes"), "latin1")).toBe("\x00\x01binary");
});

test("never leaves its folder", async () => {
  writeFileSync(join(folder.path, "secret"), "secret");
  mkdirSync(join(folder.path, "outside"));
  symlinkSync(join(folder.path, "outside"), join(root, "link"));
  symlinkSync(join(folder.path, "secret"), join(root, "file"));
  mkdirSync(join(folder.path, "root-2"));
  for (const name of ["../secret", "a/../../secret", "link/x", "file", "../root-2/x", "/../secret", "\0"]) {
    for (const operation of ["create", "get", "delete", "list"])
      expect(String(await rejection(invoke(operation, name)))).toMatch(/outside of rootPath|U\+0000/);
  }
  expect(readFileSync(join(folder.path, "secret"), "utf8")).toBe("secret");
  expect(readdirSync(join(folder.path, "outside"))).toEqual([]);
  expect(await invoke("create", "/absolute", "x!")).toBe('{"fileName":"absolute"}');
});

test("leaves nothing behind that was not written", async () => {
  mkdirSync(join(root, "folder", "deeper"), { recursive: true });
  expect(String(await rejection(invoke("create", "folder", "x!")))).toContain("error writing to file");
  expect(readdirSync(root)).toEqual(["folder"]);
});

test("says what it can not do", async () => {
  const open = (rootPath: string) => rejection(localstorage.open({ rootPath }, componentHost()));
  expect(String(await open(""))).toContain("property rootPath must not be empty");
  symlinkSync("/proc", join(folder.path, "proc"));
  for (const path of ["/proc/1", "/sys", join(folder.path, "proc", "self")])
    expect(String(await open(path))).toContain("disallowed location");
  writeFileSync(join(folder.path, "plain"), "");
  expect(String(await open(join(folder.path, "plain")))).toContain("unable to create directory");
  expect(String(await rejection(invoke("move", "a")))).toContain("unsupported operation move");
  expect(String(await rejection(invoke("delete", "")))).toContain("fileName is missing");
});
