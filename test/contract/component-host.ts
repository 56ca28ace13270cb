import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComponentHost } from "../../src/component/component.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";
import type { Log } from "../../src/telemetry/telemetry.ts";

/** Surroundings for a component under test; nothing is logged. */
export function componentHost(overrides: Partial<ComponentHost> = {}): ComponentHost {
  return {
    name: "under-test",
    appId: "app",
    namespace: "default",
    log: silentLog,
    edges: realEdges(),
    env: {},
    ...overrides,
  };
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  fatal() {},
  scope: () => silentLog,
};

/** A folder of its own for one test. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "mecha-contract-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** An engine store that can be closed and opened again over the same files. */
export async function temporaryStore(): Promise<{
  store: Store;
  reopen: () => Promise<Store>;
  close: () => Promise<void>;
}> {
  const folder = await temporaryFolder();
  let store = await openSqliteStore({ folder: folder.path });
  return {
    store,
    async reopen() {
      await store.close();
      store = await openSqliteStore({ folder: folder.path });
      return store;
    },
    async close() {
      await store.close();
      await folder.remove();
    },
  };
}

/** Waits until the check holds; fails with its last answer after the deadline. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>, deadlineMs = 10_000) {
  const endMs = performance.now() + deadlineMs;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`after ${deadlineMs} ms still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
