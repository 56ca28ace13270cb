import { afterAll, beforeAll } from "bun:test";
import { openPostgresqlStore } from "../../src/engine/store/postgresql.ts";
import { type Service, startService } from "../services.ts";
import { storeContract } from "./store.ts";

let server: Service | undefined;
let homes = 0;

beforeAll(async () => {
  server = await startService("postgresql", { options: { fsync: "off" } });
}, 120_000);

afterAll(() => server?.stop(), 60_000);

storeContract("postgresql", async () => {
  homes += 1;
  const address = `${server?.details.url}?schema=home_${homes}`;
  return {
    open: (clock) => openPostgresqlStore({ address, clock, time: "clock" }),
    remove: async () => undefined,
  };
});
