import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type InstanceRecord, listInstances, startTicks, writeInstance } from "./instances.ts";

const folder = mkdtempSync(join(tmpdir(), "mecha-instances-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const record = (pid: number, ticks: string): InstanceRecord => ({
  pid,
  startTicks: ticks,
  startedAt: new Date().toISOString(),
  folder: "/",
  runFile: undefined,
  apps: [],
});

test("listInstances() shows live processes and forgets dead ones and reused pids", () => {
  const own = record(process.pid, startTicks(process.pid));
  writeInstance(folder, own);
  writeInstance(folder, record(2 ** 22 - 1, "1"));
  writeInstance(folder, record(process.ppid, "1"));
  expect(listInstances(folder)).toEqual([JSON.parse(JSON.stringify(own))]);
  expect(existsSync(join(folder, "run", `${process.ppid}.json`))).toBe(false);
});
