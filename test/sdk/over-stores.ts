// The programs of the SDKs with their actors and workflows in a state store of the user's on a server of its own.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { createConnection } from "mysql2/promise";
import postgres from "postgres";
import { component } from "../component-text.ts";
import type { Service } from "../services.ts";
import { fileScope } from "./file-scope.ts";

interface Store {
  service: string;
  /** `place`: a number for each program, so that none finds what another left. */
  items(server: Service, place: number): Record<string, string>;
  /** What is there, in the server's own words. */
  count(server: Service, place: number): Promise<number>;
}

const stores: Record<string, Store> = {
  "state.redis/v1": {
    service: "redis",
    items: ({ port }, place) => ({ redisHost: `127.0.0.1:${port}`, redisDB: String(place) }),
    async count({ port }, db) {
      const client = new Redis({ port, db });
      const keys = await client.dbsize();
      client.disconnect();
      return keys;
    },
  },
  "state.postgresql/v2": {
    service: "postgresql",
    items: ({ details }, place) => ({ connectionString: String(details.url), tablePrefix: `sdk${place}_` }),
    async count({ details }, place) {
      const client = postgres(String(details.url));
      const [row] = await client.unsafe(`SELECT count(*) AS rows FROM sdk${place}_state`);
      await client.end();
      return Number(row?.rows);
    },
  },
  "state.mysql/v1": {
    service: "mariadb",
    items: ({ details }, place) => ({ connectionString: String(details.url), schemaName: `sdk${place}` }),
    async count({ port }, place) {
      const client = await createConnection({
        host: "127.0.0.1",
        port,
        user: "root",
        database: `sdk${place}`,
      });
      const [rows] = await client.query("SELECT count(*) AS `rows` FROM state");
      await client.end();
      return Number((rows as { rows: number }[])[0]?.rows);
    },
  },
};

/** A test for each program in each store. */
export function inStores<Program extends { resources?: string[] }>(
  what: string,
  programs: Record<string, () => Promise<Program>>,
  run: (program: Program) => Promise<void>,
): void {
  const { folder, start } = fileScope();
  for (const [type, { service, items, count }] of Object.entries(stores)) {
    test.each(Object.keys(programs).map((sdk, place) => [sdk, place] as const))(
      `${what} of the %s SDK in ${type}`,
      async (sdk, place) => {
        const program = await (programs[sdk] as () => Promise<Program>)();
        const resource = join(folder, `${service}-${place}.yaml`);
        const server = await start(service);
        const metadata = { ...items(server, place), actorStateStore: "true" };
        writeFileSync(resource, component("home", type, metadata));
        await run({ ...program, resources: [resource] });
        expect(await count(server, place)).toBeGreaterThan(0);
      },
      600_000,
    );
  }
}
