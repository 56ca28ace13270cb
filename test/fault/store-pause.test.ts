import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkStore } from "../../src/engine/store/maintenance.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { eventually } from "../contract/store/harness.ts";
import type { WriteEntry } from "./store-pause/child.ts";

test("a stopped process holds up others only as long as they choose, and loses nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecha-pause-"));
  const stopped = startWriter(folder, "a");
  const running = startWriter(folder, "b");
  try {
    await Promise.all([progress(stopped), progress(running)]);
    for (let cycle = 0; cycle < 8; cycle++) {
      stopped.process.kill("SIGSTOP");
      // Each write of the other either passes or is refused as busy: both are outcomes.
      await progress(running);
      stopped.process.kill("SIGCONT");
      await Promise.all([written(stopped), written(running)]);
    }
    stopped.process.kill("SIGSTOP");
    stopped.process.kill("SIGKILL");
    await written(running);
  } finally {
    for (const writer of [stopped, running]) writer.process.kill("SIGKILL");
    await Promise.all([stopped.done, running.done]);
  }
  const entries = [...stopped.entries, ...running.entries];
  expect(new Set(entries.map((entry) => entry.outcome)).difference(new Set(["written", "busy"])).size).toBe(
    0,
  );
  await expectAllThere(folder, entries);
  await rm(folder, { recursive: true, force: true });
}, 60_000);

interface Writer {
  process: Bun.Subprocess;
  entries: WriteEntry[];
  done: Promise<void>;
}

function startWriter(folder: string, name: string): Writer {
  const script = join(import.meta.dir, "store-pause/child.ts");
  const process_ = Bun.spawn([process.execPath, script, folder, name], { stdout: "pipe", stderr: "inherit" });
  const entries: WriteEntry[] = [];
  return { process: process_, entries, done: collect(process_.stdout, entries) };
}

async function collect(stream: ReadableStream<Uint8Array>, entries: WriteEntry[]): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) entries.push(JSON.parse(line) as WriteEntry);
  }
}

function progress(writer: Writer): Promise<void> {
  const before = writer.entries.length;
  return eventually(() => writer.entries.length > before + 8, "a writer gets answers", 10_000);
}

function written(writer: Writer): Promise<void> {
  const count = (): number => writer.entries.filter((entry) => entry.outcome === "written").length;
  const before = count();
  return eventually(() => count() > before + 8, "a writer's writes are acknowledged", 10_000);
}

async function expectAllThere(folder: string, entries: readonly WriteEntry[]): Promise<void> {
  const store = await openSqliteStore({ folder });
  try {
    const keys = entries.filter((entry) => entry.outcome === "written").map((entry) => entry.key);
    const found = await store.getMany("s", keys);
    expect(found.length).toBe(keys.length);
  } finally {
    await store.close();
  }
  expect((await checkStore(folder)).problems).toEqual([]);
}
