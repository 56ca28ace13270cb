import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../../src/edges/clock.ts";
import { prepareStoreFile } from "../../src/engine/store/sqlite/open-file.ts";
import { WriteThread } from "../../src/engine/store/sqlite/write-thread.ts";

let folder = "";
let thread: WriteThread;
let touched: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mecha-thread-"));
  touched = [];
  thread = new WriteThread({
    path: prepareStoreFile(folder, { busyTimeoutMs: 1000 }),
    feedPath: join(folder, "feeds", "own.feed"),
    clock: realClock,
    busyTimeoutMs: 1000,
    queueBytesMax: 1_000_000,
    onTouched: (channels) => touched.push(...channels),
    workerUrl: new URL("./store-thread/failing.worker.ts", import.meta.url),
  });
});

afterEach(async () => {
  await thread.close();
  rmSync(folder, { recursive: true, force: true });
});

function put(key: string, value = new Uint8Array(3)) {
  return thread.write({ op: "commit", mutations: [{ kind: "put", space: "s", key, value }] });
}

const crashed = { name: "StoreUnavailable", reason: "crashed" };

describe("WriteThread", () => {
  test("rejects what was in flight when the thread fails, and goes on with a new thread", async () => {
    await put("before");
    await expect(put("throw before")).rejects.toMatchObject(crashed);
    expect((await put("after")).value).toHaveLength(1);
  });

  test("goes on with what was waiting while the thread failed", async () => {
    const failing = put("throw before");
    await new Promise((resolve) => setImmediate(resolve));
    const waiting = put("waiting");
    await expect(failing).rejects.toMatchObject(crashed);
    expect((await waiting).value).toHaveLength(1);
  });

  test("survives a thread that ends", async () => {
    await put("exit after").catch(() => undefined);
    // One may still go to the thread that is ending.
    await put("between").catch(() => undefined);
    expect((await put("after")).value).toHaveLength(1);
  });

  test("fails each write while no thread can start, and works when one can", async () => {
    await put("first");
    await expect(put("throw before")).rejects.toMatchObject(crashed);
    await expect(put("throw before")).rejects.toMatchObject(crashed);
    expect((await put("last")).value).toHaveLength(1);
  });

  test("refuses writes when too many bytes wait", async () => {
    const large = new Uint8Array(400_000);
    const accepted = [put("a", large), put("b", large)];
    await expect(put("c", large)).rejects.toMatchObject({ name: "StoreUnavailable", reason: "overloaded" });
    await Promise.all(accepted);
    expect((await put("d")).value).toHaveLength(1);
  });

  test("an operation that SQLite refuses fails alone", async () => {
    const strange = thread.write({
      op: "commit",
      mutations: [
        { kind: "put", space: "s", key: "k", value: new Uint8Array(1), contentType: null as never },
      ],
    });
    const results = await Promise.allSettled([put("a"), strange, put("b")]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test("tells each touched channel once a batch", async () => {
    await Promise.all([put("a"), put("b"), put("c")]);
    expect(touched).toEqual(["keys:s"]);
  });
});
