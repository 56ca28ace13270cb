// The same programs of the SDKs over brokers and databases instead of the embedded defaults.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Service, startService } from "../services.ts";
import { runSdk } from "./harness.ts";
import { type SdkName, sdkPrograms } from "./programs.ts";

/** No store here has Dapr's query API; the embedded one does. */
const lacking = "state-query";

/** Starts a server that ends with the file. */
type Start = (name: string) => Promise<Service>;

/** A test for each SDK, all on the same servers. `components` starts them and answers the components on them. */
export function sdksOver(home: string, components: (start: Start) => Promise<string[]>): void {
  const folder = mkdtempSync(join(tmpdir(), "mecha-sdk-components-"));
  const file = join(folder, "home.yaml");
  const services: Service[] = [];

  beforeAll(async () => {
    const start: Start = async (name) => {
      const service = await startService(name);
      services.push(service);
      return service;
    };
    writeFileSync(file, (await components(start)).join("---\n"));
  }, 300_000);

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  test.each(Object.keys(sdkPrograms) as SdkName[])(
    `the %s SDK works over ${home}`,
    async (sdk) => {
      const program = await sdkPrograms[sdk](folder);
      const resources = [...(program.resources ?? []), file];
      const result = Object.fromEntries(await runSdk({ ...program, resources }));
      expect(result[lacking]).toMatch(/query|quer/i);
      delete result[lacking];
      const failed = Object.entries(result).filter(([, text]) => text !== "ok" && !text.startsWith("skip: "));
      expect(failed).toEqual([]);
      expect(Object.keys(result).length).toBeGreaterThan(15);
    },
    600_000,
  );
}

export function component(name: string, typeAndVersion: string, items: Record<string, string>): string {
  const [type, version] = typeAndVersion.split("/");
  const lines = Object.entries(items).map(
    ([item, value]) => `    - { name: ${item}, value: ${JSON.stringify(value)} }\n`,
  );
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec:
  type: ${type}
  version: ${version}
  metadata:
${lines.join("")}`;
}
