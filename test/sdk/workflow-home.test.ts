import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeMetadata } from "../../src/engine/workflow/metadata-row.ts";
import { type Service, startService } from "../services.ts";
import { goBuild, pythonVenv } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

// The program of the Python SDK once more, with its workflows in a state store of the user's.

const files = mkdtempSync(join(tmpdir(), "mecha-sdk-home-"));
afterAll(() => rmSync(files, { recursive: true, force: true }));

async function runIn(type: string, items: Record<string, string>, version = "v1"): Promise<void> {
  const folder = import.meta.dirname;
  const resource = join(files, `${type}.yaml`);
  writeFileSync(resource, component(type, version, items));
  const python = await pythonVenv(join(folder, "python/requirements.txt"));
  const program = { language: "python", folder: join(folder, "workflow"), resources: [resource] };
  await expectWorkflows(program, [python, join(folder, "workflow/python.py")]);
}

function component(type: string, version: string, items: Record<string, string>): string {
  const metadata = Object.entries({ actorStateStore: "true", ...items });
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: home }
spec:
  type: ${type}
  version: ${version}
  metadata:
${metadata.map(([name, value]) => `    - { name: ${name}, value: "${value}" }`).join("\n")}
`;
}

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
  await runIn("state.sqlite", { connectionString: file });
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

/** Stores with a server of their own: what starts it, and what the component is told of it. */
const servers: {
  type: string;
  version?: string;
  service: string;
  items(server: Service): Record<string, string>;
}[] = [
  { type: "state.redis", service: "redis", items: ({ port }) => ({ redisHost: `127.0.0.1:${port}` }) },
  {
    type: "state.postgresql",
    version: "v2",
    service: "postgresql",
    items: ({ details }) => ({ connectionString: String(details.url) }),
  },
  {
    type: "state.mysql",
    service: "mariadb",
    items: ({ details }) => ({ connectionString: String(details.url) }),
  },
];

for (const { type, version, service, items } of servers) {
  const name = `workflows of the Python SDK in ${type}`;
  test(name, async () => {
    const server = await startService(service);
    try {
      await runIn(type, items(server), version);
    } finally {
      await server.stop();
    }
  }, 300_000);
}
