// The same programs of the SDKs over brokers and databases instead of the embedded defaults.
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileScope, type Start } from "./file-scope.ts";
import { runSdk } from "./harness.ts";
import { type SdkName, sdkPrograms } from "./programs.ts";

/** No store here has Dapr's query API; the embedded one does. */
const lacking = "state-query";

/** A test for each SDK, all on the same servers. `components` starts them and answers the components on them. */
export function sdksOver(
  home: string,
  components: (start: Start) => Promise<string[]>,
  { sidecars = false } = {},
): void {
  const { folder, start } = fileScope();
  const file = join(folder, "home.yaml");
  beforeAll(async () => writeFileSync(file, (await components(start)).join("---\n")), 300_000);

  test.each(Object.keys(sdkPrograms) as SdkName[])(
    `the %s SDK works over ${home}`,
    async (sdk) => {
      const program = await sdkPrograms[sdk](folder);
      const resources = [...(program.resources ?? []), file];
      const result = Object.fromEntries(await runSdk({ ...program, resources, sidecars }));
      expect(result[lacking]).toMatch(/query|quer/i);
      delete result[lacking];
      const failed = Object.entries(result).filter(([, text]) => text !== "ok" && !text.startsWith("skip: "));
      expect(failed).toEqual([]);
      expect(Object.keys(result).length).toBeGreaterThan(15);
    },
    600_000,
  );
}
