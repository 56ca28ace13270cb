import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseOptions } from "../../src/component/parse-options.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { pluggableDefinition } from "../../src/pluggable/definitions.ts";
import { findSocket } from "../../src/pluggable/sockets.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost, eventually, temporaryFolder } from "./component-host.ts";
import { type PluggedProcess, startPlugged } from "./pluggable.ts";
import { pubsubContract } from "./pubsub.ts";
import { secretStoreContract } from "./secret-store.ts";
import { put, rejection, stateContract, textAt } from "./state.ts";

let plugged: PluggedProcess;
beforeAll(async () => {
  plugged = await startPlugged();
}, 600_000);
afterAll(() => plugged?.stop());

let files = 0;
const fresh = () => ({ file: `journal-${++files}` });
const restart = async () => {
  await plugged.server.kill();
  await plugged.server.start();
};

stateContract("state.kept", ["ETAG", "TRANSACTIONAL", "TTL"], async () => {
  const items = fresh();
  let store = await plugged.open("state.kept", items);
  return {
    store,
    async reopen() {
      await store.close();
      await restart();
      store = await plugged.open("state.kept", items);
      return store;
    },
    close: () => store.close(),
  };
});

pubsubContract(
  "pubsub.kept",
  { features: [], isDurable: true, keepsOrder: false, isUncounted: true },
  async () => {
    const items = fresh();
    let pubsub = await plugged.open("pubsub.kept", items);
    return {
      pubsub,
      async reopen() {
        await pubsub.close();
        await restart();
        pubsub = await plugged.open("pubsub.kept", items);
        return pubsub;
      },
      close: () => pubsub.close(),
    };
  },
);

secretStoreContract("secretstores.safe", { answersUnknown: false }, async () => {
  const secrets = await plugged.open("secretstores.safe");
  return { secrets, close: () => secrets.close() };
});

describe("bindings.kept", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  test("does what it is asked for, with its metadata", async () => {
    const binding = await plugged.open("bindings.kept", { greeting: "hello " });
    expect(binding.operations).toEqual(["create", "get", "emit", "answer"]);
    const asked = { operation: "create", data: bytes("you"), metadata: { a: "b" } };
    const reply = await binding.invoke?.(asked);
    expect(Buffer.from(reply?.data ?? []).toString()).toBe("hello you");
    expect(reply).toMatchObject({ metadata: { a: "b" }, contentType: "application/x" });
    const error = await rejection(Promise.resolve(binding.invoke?.({ ...asked, operation: "get" })));
    expect(String(error)).toContain("no operation get");
    await binding.close();
  });

  test("brings in what is read, sends the answer back, and what failed comes again", async () => {
    const binding = await plugged.open("bindings.kept");
    const seen: string[] = [];
    await binding.read?.(async ({ data, metadata, contentType }) => {
      const text = Buffer.from(data).toString();
      expect([metadata, contentType]).toEqual([{ from: "echo" }, "text/plain"]);
      seen.push(text);
      if (seen.length === 1) throw new Error("not yet");
      return bytes(`${text}!`);
    });
    await binding.invoke?.({ operation: "emit", data: bytes("event"), metadata: {} });
    const answer = async (about: string) => {
      const reply = await binding.invoke?.({ operation: "answer", data: bytes(about), metadata: {} });
      return Buffer.from(reply?.data ?? []).toString();
    };
    await eventually("the answer is there", async () => (await answer("event")) === "event!");
    expect([seen, await answer("error")]).toEqual([["event", "event"], "not yet"]);
    await binding.close();
  });

  test("reads on when its process was killed", async () => {
    const binding = await plugged.open("bindings.kept", { greeting: "hi " });
    const seen: string[] = [];
    await binding.read?.(async ({ data }) => {
      seen.push(Buffer.from(data).toString());
      return undefined;
    });
    await restart();
    // The new process was told the metadata too.
    const reply = await binding.invoke?.({ operation: "create", data: bytes("you"), metadata: {} });
    expect(Buffer.from(reply?.data ?? []).toString()).toBe("hi you");
    await binding.invoke?.({ operation: "emit", data: bytes("later"), metadata: {} });
    await eventually("it is there", () => seen.includes("later"));
    await binding.close();
  });
});

/** A signal takes a moment to reach every thread. */
function isStopped(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.every((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2, text.lastIndexOf(")") + 3) === "T";
  });
}

describe("a pluggable component", () => {
  test("is asked what it finds", async () => {
    const store = await plugged.open("state.kept", { ...fresh(), queries: "yes" });
    expect(store.features.has("QUERY_API")).toBe(true);
    await store.set(put("app||a", '{"x":1}'));
    await store.set(put("app||b", '{"x":2}'));
    await store.set(put("other||c", "3"));
    const found = await store.query?.({ filter: { EQ: { x: 1 } }, keyPrefix: "app||" }, {});
    expect(found?.results.map(({ key }) => key).sort()).toEqual(["app||a", "app||b"]);
    expect(found?.metadata).toEqual({ filters: "1" });
    await store.close();
  });

  test("says why it does not take its metadata", async () => {
    const error = await rejection(plugged.open("state.kept", { refuse: "too blue" }));
    expect(error).not.toBeInstanceOf(ServerUnavailable);
    expect(String(error)).toContain("the metadata is refused: too blue");
  });

  test("is found by its name, whatever the case, and is what its services are", async () => {
    const store = await plugged.open("state.KEPT" as "state.kept", fresh());
    await store.close();
    const error = await rejection(plugged.open("secretstores.kept"));
    expect(String(error)).toContain("is no component of kind secretstores: it has no service SecretStore");
  });

  test("may come a little later than mecha", async () => {
    const error = await rejection(plugged.open("state.later"));
    expect(error).toBeInstanceOf(ServerUnavailable);
    expect(String(error)).toContain(`there is no socket later.sock in ${plugged.sockets.path}`);
  });

  test("two of one process are kept apart by their names", async () => {
    const definition = await pluggableDefinition("state.kept", "v1", plugged.sockets);
    const open = async (name: string, appId: string): Promise<StateStore> => {
      const allFields = new Map(Object.entries(fresh()));
      const { options } = parseOptions(definition as never, allFields);
      return (await definition?.open(
        options as never,
        componentHost({ name, appId, allFields }),
      )) as StateStore;
    };
    // The last two have one name, but not one app.
    const stores = [await open("one", "app"), await open("two", "app"), await open("two", "other")];
    for (const [index, store] of stores.entries()) await store.set(put("key", String(index)));
    const texts = await Promise.all(stores.map((store) => textAt(store, "key")));
    expect(texts).toEqual(["0", "1", "2"]);
    for (const store of stores) await store.close();
  });

  test("is not asked when its version is another, or its kind has no contract", async () => {
    expect(await pluggableDefinition("state.kept", "v2", plugged.sockets)).toBeUndefined();
    expect(await pluggableDefinition("lock.kept", "v1", plugged.sockets)).toBeUndefined();
    const nowhere = { path: "/nonexistent/folder", isNamed: false };
    expect(await pluggableDefinition("state.kept", "v1", nowhere)).toBeUndefined();
  });

  test("that answers nothing is given up in time", async () => {
    const store = await plugged.open("state.kept", { ...fresh(), callTimeout: "300ms" });
    process.kill(plugged.server.pid, "SIGSTOP");
    await until(() => isStopped(plugged.server.pid), "all of its threads stand still");
    const error = (await rejection(store.set(put("key", "x")))) as ServerUnavailable;
    process.kill(plugged.server.pid, "SIGCONT");
    expect([error.name, error.outcome]).toEqual(["ServerUnavailable", "unknown"]);
    await until(
      () =>
        store.set(put("key", "y")).then(
          () => true,
          () => false,
        ),
      "it is back",
      10_000,
    );
    await store.close();
  });
});

describe("the folder of sockets", () => {
  test("is trusted unasked only when nobody else can write there", async () => {
    const folder = await temporaryFolder();
    const found = (isNamed: boolean) => findSocket({ path: folder.path, isNamed }, "x").catch(String);
    expect(await found(false)).toBeUndefined();
    await chmod(folder.path, 0o777);
    expect(await found(false)).toContain(`others may write to ${folder.path}`);
    expect(await found(true)).toBeUndefined();
    await folder.remove();
  });

  test("gives sockets only: no files, no links", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder.path, "file.sock"), "");
    await symlink(join(plugged.sockets.path, "kept.sock"), join(folder.path, "link.sock"));
    await mkdir(join(folder.path, "folder.sock"));
    for (const name of ["file", "link", "folder"]) {
      const error = await findSocket({ path: folder.path, isNamed: true }, name).catch(String);
      expect(error).toContain("is not a socket");
    }
    await folder.remove();
  });
});
