import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pythonVenv } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

// The program of the Python SDK once more, with its workflows in a state store of the user's.

async function runIn(type: string, items: Record<string, string>): Promise<void> {
  const folder = import.meta.dirname;
  const files = mkdtempSync(join(tmpdir(), "mecha-sdk-home-"));
  try {
    const resource = join(files, "home.yaml");
    writeFileSync(resource, component(type, items));
    const python = await pythonVenv(join(folder, "python/requirements.txt"));
    const program = { language: "python", folder: join(folder, "workflow"), resources: [resource] };
    await expectWorkflows(program, [python, join(folder, "workflow/python.py")]);
  } finally {
    rmSync(files, { recursive: true, force: true });
  }
}

function component(type: string, items: Record<string, string>): string {
  const metadata = Object.entries({ actorStateStore: "true", ...items });
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: home }
spec:
  type: ${type}
  version: v1
  metadata:
${metadata.map(([name, value]) => `    - { name: ${name}, value: "${value}" }`).join("\n")}
`;
}

test("workflows of the Python SDK in state.sqlite", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mecha-sdk-home-"));
  const file = join(folder, "state.db");
  try {
    await runIn("state.sqlite", { connectionString: file });
    const db = new Database(file);
    const count = (kind: string, app: string): number => {
      const like = `${app}||dapr.internal.default.${app}.workflow||%||${kind}`;
      const select = db.query<{ n: number }, [string]>("SELECT count(*) AS n FROM state WHERE key LIKE ?");
      return select.get(like)?.n ?? 0;
    };
    for (const app of ["client", "other"]) {
      expect(count("metadata", app)).toBeGreaterThan(0);
      expect(count("history-000000", app)).toBe(count("metadata", app));
      expect(count("customStatus", app)).toBe(count("metadata", app));
    }
    db.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
