import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Binding } from "../../src/component/binding.ts";
import { startSftp, type TestSftp } from "./sftp.ts";
import { rejection } from "./state.ts";

let sftp: TestSftp;
let binding: Binding;
beforeAll(async () => {
  sftp = await startSftp();
  binding = await sftp.open();
}, 120_000);
afterAll(async () => {
  await binding.close();
  await sftp.server.stop();
});

const call = async (operation: string, fileName: string, data: string | Uint8Array = "", on = binding) => {
  const metadata: Record<string, string> = fileName === "" ? {} : { fileName };
  const reply = await on.invoke?.({ operation, metadata, data: Buffer.from(data) });
  return { bytes: Buffer.from(reply?.data ?? []), metadata: reply?.metadata };
};
const list = async (fileName: string) => JSON.parse(String((await call("list", fileName)).bytes));

test("creates, gets, lists and deletes files, bytes as they are", async () => {
  const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => (index * 31) % 256);
  const created = await call("create", "deep/er/a b.bin", bytes);
  expect([String(created.bytes), created.metadata]).toEqual([
    '{"fileName":"a b.bin"}',
    { fileName: "a b.bin" },
  ]);
  expect((await readFile(join(sftp.files, "deep/er/a b.bin"))).equals(Buffer.from(bytes))).toBe(true);
  expect((await call("get", "deep/er/a b.bin")).bytes.equals(Buffer.from(bytes))).toBe(true);
  await call("create", "deep/empty", "");
  await call("create", "deep/empty", "no more");
  expect(String((await call("get", "deep/empty")).bytes)).toBe("no more");
  expect(await list("deep")).toEqual([
    { fileName: "empty", isDirectory: false },
    { fileName: "er", isDirectory: true },
  ]);
  expect(await call("delete", "deep/empty")).toEqual({ bytes: Buffer.alloc(0), metadata: undefined });
  expect(await list("deep")).toEqual([{ fileName: "er", isDirectory: true }]);
  expect(await list("")).toEqual([{ fileName: "deep", isDirectory: true }]);
});

test("a file is there whole or not at all, also when many write one", async () => {
  const texts = Array.from({ length: 20 }, (_, index) => String(index % 10).repeat(50_000));
  await Promise.all(texts.map((text) => call("create", "shared/one", text)));
  const kept = String((await call("get", "shared/one")).bytes);
  expect(texts.some((text) => text === kept)).toBe(true);
  expect(await readdir(join(sftp.files, "shared"))).toEqual(["one"]);
});

test("no name leads out of the folder", async () => {
  await mkdir(join(sftp.files, "inside"), { recursive: true });
  await writeFile(join(sftp.files, "..", "secret"), "s");
  const inner = await sftp.open({ rootPath: join(sftp.files, "inside/") });
  for (const fileName of ["../x", "a/../../x", "../inside2/x", "../../secret"]) {
    for (const operation of ["create", "get", "delete", "list"])
      expect(String(await rejection(call(operation, fileName, "x", inner)))).toContain(
        "outside of the rootPath",
      );
  }
  const other = inner.invoke?.({
    operation: "list",
    metadata: { rootPath: sftp.files },
    data: new Uint8Array(),
  });
  expect(String(await rejection(other as Promise<unknown>))).toContain("outside of the rootPath");
  const below = { rootPath: join(sftp.files, "inside/below"), fileName: "y" };
  await inner.invoke?.({ operation: "create", metadata: below, data: Buffer.from("y") });
  expect(String((await call("get", "inside/below/y")).bytes)).toBe("y");
  // What begins with a slash is below the folder too.
  await call("create", "/slash", "z", inner);
  expect(await readdir(join(sftp.files, "inside"))).toEqual(["below", "slash"]);
  await inner.close();
});

test("what is not there is an error that names it", async () => {
  const cases: [string, string, string][] = [
    ["get", "none", `sftp binding error: error reading file ${join(sftp.files, "none")}`],
    ["delete", "none", "sftp binding error: error remove file"],
    ["list", "none", "sftp binding error: error read dir"],
    ["create", "", "fileName is missing"],
    ["delete", "", "fileName is missing"],
    ["copy", "x", "unsupported operation copy"],
  ];
  for (const [operation, fileName, message] of cases)
    expect(String(await rejection(call(operation, fileName)))).toContain(message);
});

test("keys with a passphrase, a password, known hosts plain and hashed, any host; one at a time", async () => {
  const { lockedKeyFile, knownHostsFile, hashedHostsFile } = sftp.server.details as Record<string, string>;
  const privateKey = await readFile(lockedKeyFile as string, "utf8");
  const good: Record<string, string>[] = [
    { privateKey, privateKeyPassphrase: "secret" },
    { hostPublicKey: "", knownHostsFile: knownHostsFile as string },
    { hostPublicKey: "", knownHostsFile: hashedHostsFile as string },
    { hostPublicKey: "", insecureIgnoreHostKey: "true" },
    { sequentialMode: "true", fileName: "named" },
    { password: sftp.server.details.password as string, privateKey: "" },
  ];
  for (const items of good) {
    const opened = await sftp.open(items);
    await Promise.all(["1", "2", "3"].map((name) => call("create", `ways/${name}`, name, opened)));
    await opened.close();
  }
  const named = await sftp.open({ fileName: "named" });
  await call("create", "", "n", named);
  expect(String((await call("get", "named")).bytes)).toBe("n");
  await named.close();
});

test("says what is wrong with its metadata, and who the server is not", async () => {
  const wrongKey = (await readFile(`${sftp.server.details.keyFile}.pub`, "utf8")).trim();
  const cases: [Record<string, string>, string][] = [
    [{ address: "a:b:c d" }, 'address "a:b:c d" is no host:port'],
    [{ privateKey: "" }, "password or privateKey is missing"],
    [{ hostPublicKey: "" }, "no host validation method provided"],
    [{ hostPublicKey: "ssh-ed25519 x" }, "parse host public key error"],
    [{ hostPublicKey: wrongKey }, "its host key is not the known one"],
    [{ knownHostsFile: "/none" }, "read known host file error"],
    [{ knownHostsFile: `${sftp.server.details.keyFile}.pub` }, "has no key of 127.0.0.1"],
    [{ privateKey: "nonsense" }, "privateKey"],
    [{ username: "nobody-here" }, "authentication methods failed"],
    [{ password: "wrong", privateKey: "" }, "authentication methods failed"],
  ];
  for (const [items, message] of cases) expect(String(await rejection(sftp.open(items)))).toContain(message);
});
