import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DiskReport } from "./store-disk/child.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-disk-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const child = join(import.meta.dir, "store-disk/child.ts");
/** A disk of 8 MiB in a mount namespace of its own: needs no rights but to make one. */
const onTinyDisk = `mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" "$3" tmpfs "$1"`;
/** Files of at most 4 MiB: writes beyond fail as on a broken disk. The hard limit stays, so that it can be lifted. */
const withSmallFiles = `trap '' XFSZ; ulimit -S -f 8192; exec "$2" "$3" limit "$1"`;

describe("the store on a disk", () => {
  test("that fills up refuses writes, keeps what it acknowledged, and goes on when there is room", async () => {
    const report = await runChild(["unshare", "-Urm", "sh", "-c", onTinyDisk, "sh"]);
    expect(new Set(report.refusals)).toEqual(new Set(["full"]));
    expect(report.messages[0]).toContain("disk that holds the store is full");
    expectRecovered(report);
  }, 60_000);

  test("that fails to write does the same", async () => {
    const report = await runChild(["sh", "-c", withSmallFiles, "sh"]);
    expect(new Set(report.refusals)).toEqual(new Set(["io"]));
    expectRecovered(report);
  }, 60_000);
});

function expectRecovered(report: DiskReport): void {
  expect(report.acknowledgedBefore).toBeGreaterThan(20);
  expect(report.refusals.length).toBeGreaterThanOrEqual(30);
  expect(report.readsWhileFull).toBe(true);
  expect(report.acknowledgedAfter).toBe(10);
  expect(report.lost).toEqual([]);
  expect(report.problems).toEqual([]);
}

async function runChild(command: string[]): Promise<DiskReport> {
  const process_ = Bun.spawn([...command, folder, process.execPath, child], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors] = await Promise.all([
    new Response(process_.stdout).text(),
    new Response(process_.stderr).text(),
  ]);
  if ((await process_.exited) !== 0) throw new Error(`the child failed: ${errors}`);
  await rm(join(folder, "store"), { recursive: true, force: true });
  return JSON.parse(output) as DiskReport;
}
