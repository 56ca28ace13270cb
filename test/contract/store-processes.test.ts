import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkStore } from "../../src/engine/store/maintenance.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { bytes, eventually, text } from "./store/harness.ts";

test("processes that open a new store at once share its messages, leases and feeds", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecha-processes-"));
  const script = join(import.meta.dir, "store/child.ts");
  const children = ["a", "b", "c"].map((name) =>
    Bun.spawn([process.execPath, script, folder, name], { stdout: "pipe", stderr: "inherit" }),
  );
  const store = await openSqliteStore({ folder });
  try {
    const outputs = children.map((child) => new Response(child.stdout).text());
    await eventually(async () => (await store.getLease("leader")) !== undefined, "a child leads", 20_000);
    await eventually(
      async () => (await store.topicStats("orders"))[0]?.groups.length === 1,
      "a child consumes",
    );
    for (let n = 0; n < 300; n++) {
      await store.commit([{ kind: "append", topic: "orders", message: { data: bytes(String(n)) } }]);
    }
    await eventually(async () => (await store.stats()).keys === 300, "all are handled", 20_000);
    const handled = await store.list("handled", { limit: 1000 });
    const numbers = handled.map((entry) => Number(text(entry.value))).toSorted((one, other) => one - other);
    expect(numbers).toEqual(Array.from({ length: 300 }, (_, n) => n));
    await store.commit([{ kind: "put", space: "stop", key: "now", value: bytes("now") }]);
    expect(await Promise.all(children.map((child) => child.exited))).toEqual([0, 0, 0]);
    const leaders = (await Promise.all(outputs)).filter((output) => JSON.parse(output).leader);
    expect(leaders).toHaveLength(1);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await store.close();
  }
  expect((await checkStore(folder)).problems).toEqual([]);
  await rm(folder, { recursive: true, force: true });
}, 60_000);
