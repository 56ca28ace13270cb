import { createHash } from "node:crypto";

let server: string | undefined;

/** From now on runtimes of tests keep what is durable in PostgreSQL, each test in a schema of its own. */
export function keepTestsIn(address: string): void {
  server = address;
}

/** The store that belongs to a test's folder; `undefined`: the embedded one in it. */
export function testStore(folder: string): string | undefined {
  if (server === undefined) return undefined;
  const url = new URL(server);
  url.searchParams.set("schema", `test_${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`);
  return url.href;
}
