import { configurationOnStore } from "../../src/engine/defaults/configuration.ts";
import { componentHost, temporaryStore } from "./component-host.ts";
import { configurationContract } from "./configuration.ts";

configurationContract("configuration.mecha", async () => {
  const engine = await temporaryStore();
  const items = await configurationOnStore(engine.store).open({}, componentHost());
  return {
    items,
    async set(values) {
      const entries = Object.entries(values).map(([key, value]) => [
        key,
        { value, version: "", metadata: {} },
      ]);
      await items.set?.(Object.fromEntries(entries));
    },
    delete: async (keys) => items.delete?.(keys),
    async close() {
      await items.close();
      await engine.close();
    },
  };
});
