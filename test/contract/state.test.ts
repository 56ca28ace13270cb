import { join } from "node:path";
import memory from "../../src/components/state/in-memory.ts";
import sqlite from "../../src/components/state/sqlite.ts";
import { stateOnStore } from "../../src/engine/defaults/state.ts";
import { componentHost, temporaryFolder, temporaryStore } from "./component-host.ts";
import { stateContract } from "./state.ts";

stateContract(
  "state.in-memory",
  ["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "QUERY_API"],
  async () => {
    const store = await memory.open({}, componentHost());
    return { store, close: () => store.close() };
  },
);

stateContract(
  "state.mecha",
  ["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "QUERY_API"],
  async () => {
    const engine = await temporaryStore();
    const open = (on: typeof engine.store) => stateOnStore(on).open({ space: undefined }, componentHost());
    return {
      store: await open(engine.store),
      reopen: async () => open(await engine.reopen()),
      close: () => engine.close(),
    };
  },
);

stateContract("state.sqlite", ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"], async () => {
  const folder = await temporaryFolder();
  const options = {
    connectionString: join(folder.path, "data.db"),
    tableName: "state",
    metadataTableName: "metadata",
    timeout: 20_000,
    cleanupInterval: 3_600_000,
    busyTimeout: 2_000,
    disableWAL: false,
  };
  const open = () => sqlite.open(options, componentHost());
  let store = await open();
  return {
    store,
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    async close() {
      await store.close();
      await folder.remove();
    },
  };
});
