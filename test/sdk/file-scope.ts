import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Service, startService } from "../services.ts";

/** Starts a server, or answers the one that was started under the name. */
export type Start = (name: string) => Promise<Service>;

/** A folder and servers that the tests of a file share; gone after the last of them. */
export function fileScope(): { folder: string; start: Start } {
  const folder = mkdtempSync(join(tmpdir(), "mecha-sdk-file-"));
  const services = new Map<string, Promise<Service>>();
  afterAll(async () => {
    await Promise.all([...services.values()].map(async (service) => (await service).stop()));
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);
  const start: Start = (name) => {
    const service = services.get(name) ?? startService(name);
    services.set(name, service);
    return service;
  };
  return { folder, start };
}
