import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { storeContract } from "./store.ts";

storeContract("sqlite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecha-store-"));
  return {
    open: (clock) => openSqliteStore({ folder: join(folder, "data"), clock }),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
});
