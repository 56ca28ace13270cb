import { hostname } from "node:os";
import type { Clock } from "../edges/clock.ts";
import { type Edges, realEdges } from "../edges/edges.ts";
import { isShared, openStore } from "../engine/store/open.ts";
import type { Store } from "../engine/store/store.ts";
import { createHttpClient, type HttpClient } from "../net/http1/index.ts";
import { createRegistry, type Registry } from "../peer/registry.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { openDataFolder } from "./data-folder.ts";

export interface HostOptions {
  /** `--data-dir`; `undefined`: MECHA_HOME, or the home directory's .mecha. */
  dataFolder: string | undefined;
  /** `--store`: the address of PostgreSQL; `undefined`: MECHA_STORE, or the embedded store in the data folder. */
  store?: string | undefined;
  env: Record<string, string | undefined>;
  log: Log;
  /** Where log lines of the runtimes go. */
  write: (line: string) => void;
  /** Absent: the machine's. */
  edges?: Edges;
}

/** What all apps of one process share: the data folder's store, the registry of peers, connections, the clock. */
export interface Host {
  readonly dataFolder: string;
  readonly env: Record<string, string | undefined>;
  readonly store: Store;
  /** The store may be shared with other machines: peers are reached over the network. */
  readonly isShared: boolean;
  readonly registry: Registry;
  readonly httpClient: HttpClient;
  readonly edges: Edges;
  /** That of `edges`. */
  readonly clock: Clock;
  readonly hostName: string;
  readonly write: (line: string) => void;
  close(): Promise<void>;
}

export async function openHost(options: HostOptions): Promise<Host> {
  const dataFolder = openDataFolder({ given: options.dataFolder, env: options.env });
  const edges = options.edges ?? realEdges();
  const { clock, sockets } = edges;
  const address = options.store ?? options.env.MECHA_STORE;
  const store = await openStore({ address, folder: dataFolder, clock });
  const registry = createRegistry({ store, clock, log: options.log });
  const httpClient = createHttpClient({ maxSocketsPerAddress: 1024, maxIdlePerAddress: 256, sockets });
  return {
    dataFolder,
    env: options.env,
    store,
    isShared: isShared(address),
    registry,
    httpClient,
    edges,
    clock,
    hostName: hostname(),
    write: options.write,
    async close() {
      await registry.close();
      httpClient.close();
      await store.close();
    },
  };
}
