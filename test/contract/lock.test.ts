import { lockOnStore } from "../../src/engine/defaults/lock.ts";
import { componentHost, temporaryStore } from "./component-host.ts";
import { lockContract } from "./lock.ts";

lockContract("lock.mecha", async () => {
  const engine = await temporaryStore();
  return { locks: await lockOnStore(engine.store).open({}, componentHost()), close: engine.close };
});
