import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeMetadata } from "../../src/engine/workflow/metadata-row.ts";
import { component } from "../component-text.ts";
import { inStores } from "./over-stores.ts";
import { goBuild } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";
import { workflowPrograms } from "./workflow-programs.ts";

// The programs of the SDKs once more, with their workflows in a state store of the user's.

const files = mkdtempSync(join(tmpdir(), "mecha-sdk-home-"));
afterAll(() => rmSync(files, { recursive: true, force: true }));

interface Rows {
  metadata: string;
  customStatus: string;
  history: string[];
}

/** The rows of an app's workflows by instance, values in base64 as the file has them. */
function rowsIn(file: string, app: string): Record<string, Rows> {
  const db = new Database(file, { readonly: true });
  const prefix = `${app}||dapr.internal.default.${app}.workflow||`;
  const select = db.query<{ key: string; value: string }, [number, string]>(
    "SELECT key, value FROM state WHERE substr(key, 1, ?) = ? ORDER BY key",
  );
  const found: Record<string, Rows> = {};
  for (const { key, value } of select.all(prefix.length, prefix)) {
    const [instanceId = "", name = ""] = key.slice(prefix.length).split("||");
    found[instanceId] ??= { metadata: "", customStatus: "", history: [] };
    const rows = found[instanceId];
    if (name === "metadata" || name === "customStatus") rows[name] = value;
    else if (name.startsWith("history-")) rows.history.push(value);
  }
  db.close();
  return found;
}

interface Read {
  inbox: number;
  history: number;
  generation: number;
  name: string;
  status: number;
  output: string;
  metadata: string;
}

/** What Dapr's own code makes of them. */
async function readByDapr(rows: Record<string, Rows>): Promise<Record<string, Read>> {
  const program = await goBuild(join(import.meta.dirname, "workflow/rows"));
  const child = Bun.spawn([program], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  child.stdin.write(JSON.stringify(rows));
  child.stdin.end();
  return (await new Response(child.stdout).json()) as Record<string, Read>;
}

test("workflows of the Python SDK in state.sqlite, whose rows Dapr's own code reads", async () => {
  const file = join(files, "state.db");
  const resource = join(files, "home.yaml");
  writeFileSync(
    resource,
    component("home", "state.sqlite/v1", { connectionString: file, actorStateStore: "true" }),
  );
  await expectWorkflows({ ...(await workflowPrograms.Python()), resources: [resource] });
  for (const app of ["client", "other"]) {
    const rows = rowsIn(file, app);
    const read = await readByDapr(rows);
    expect(Object.keys(read).length).toBeGreaterThan(0);
    for (const [instanceId, { metadata, history }] of Object.entries(rows)) {
      const { note } = decodeMetadata(Buffer.from(metadata, "base64"));
      const { name, output = "", status } = note?.record ?? {};
      expect(read[instanceId]).toMatchObject({ inbox: 0, history: history.length, name, status, output });
      const theirs = decodeMetadata(Buffer.from(read[instanceId]?.metadata ?? "", "base64"));
      const { generation } = read[instanceId] ?? {};
      expect(theirs).toMatchObject({ inboxLength: 0, historyLength: history.length, generation });
    }
  }
}, 300_000);

inStores("workflows", workflowPrograms, expectWorkflows);
