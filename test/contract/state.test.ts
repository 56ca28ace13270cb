import memory from "../../src/components/state/in-memory.ts";
import { stateOnStore } from "../../src/engine/defaults/state.ts";
import { componentHost, temporaryStore } from "./component-host.ts";
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
