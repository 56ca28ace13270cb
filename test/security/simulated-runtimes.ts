import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realEdges } from "../../src/edges/edges.ts";
import type { SimulatedEdges } from "../../src/edges/simulated.ts";
import type { ListenOptions, Sockets } from "../../src/edges/sockets.ts";
import { type AppRuntime, openAppRuntime } from "../../src/host/app-runtime.ts";
import { type Host, openHost } from "../../src/host/host.ts";
import { runtimeDefaults } from "../../src/host/options.ts";
import { openLog } from "../../src/host/telemetry.ts";

export interface SimulatedRuntimes {
  /** HTTP ports of the runtime of the app, and of another one that calls it as a peer. */
  readonly callee: number;
  readonly caller: number;
  /** Gives a connection to a port. */
  accept(port: number, socket: Socket): void;
  close(): Promise<void>;
}

/**
 * Two whole runtimes on sockets in memory: messages come in exactly the pieces that a test sends, and 100,000
 * connections are cheap. The app of the first, `callee`, listens there already.
 */
export async function openRuntimes(edges: SimulatedEdges, appPort: number): Promise<SimulatedRuntimes> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-security-"));
  const accept = new Map<number, ListenOptions["onConnection"]>();
  const hosts: Host[] = [];
  const runtimes: AppRuntime[] = [];
  const sockets = remembering(edges.sockets, accept);
  const open = async (appId: string, port: number) => {
    const options = {
      ...runtimeDefaults,
      ...{ appId, appPort: port, listenAddresses: ["127.0.0.1"] },
      ...{ enableMetrics: false, httpPort: 0, grpcPort: 0 },
    };
    const write = () => undefined;
    const log = openLog(options, "", write);
    const host = await openHost({
      ...{ dataFolder: folder, env: {}, log, write },
      edges: { ...realEdges(), sockets },
    });
    hosts.push(host);
    const runtime = await openAppRuntime({ host, options, write });
    runtimes.push(runtime);
    await runtime.initialised;
    return runtime.ports.http;
  };
  return {
    callee: await open("callee", appPort),
    caller: await open("caller", 0),
    accept: (port, socket) => accept.get(port)?.(socket),
    async close() {
      for (const runtime of runtimes) await runtime.close();
      for (const host of hosts) await host.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function remembering(sockets: Sockets, accept: Map<number, ListenOptions["onConnection"]>): Sockets {
  return {
    connect: (address, options) => sockets.connect(address, options),
    async listen(address, options) {
      const listener = await sockets.listen(address, options);
      if ("port" in listener.address) accept.set(listener.address.port, options.onConnection);
      return listener;
    },
  };
}
