/** Writes the time into the store given as argument, again and again, at moments that do not fall together. */
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";

const store = await openSqliteStore({ folder: process.argv[2] ?? "" });
for (let n = 0; n < 200; n++) {
  const time = String(performance.timeOrigin + performance.now());
  await store.commit([{ kind: "put", space: "feed", key: "time", value: new TextEncoder().encode(time) }]);
  await Bun.sleep(5 + (n % 7));
}
await store.close();
