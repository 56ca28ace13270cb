// Components in a process of their own, made with Dapr's SDK (test/sdk/pluggable), for the contract suites.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ComponentKind, ComponentKinds } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { pluggableDefinition } from "../../src/pluggable/definitions.ts";
import { findSocket, type SocketFolder } from "../../src/pluggable/sockets.ts";
import { goBuild } from "../sdk/toolchain.ts";
import type { Service } from "../services.ts";
import { componentHost, eventually } from "./component-host.ts";

export interface PluggedProcess {
  /** Restarts over the same files. */
  server: Service;
  sockets: SocketFolder;
  open<K extends ComponentKind>(
    type: `${K}.${string}`,
    items?: Record<string, string>,
  ): Promise<ComponentKinds[K]>;
  stop(): Promise<void>;
}

/** The file is there a moment earlier. */
function isListenedTo(path: string | undefined): Promise<boolean> {
  if (path === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}

export async function startPlugged(): Promise<PluggedProcess> {
  const program = await goBuild(new URL("../sdk/pluggable", import.meta.url).pathname);
  const folder = await mkdtemp(join(tmpdir(), "mecha-plugged-"));
  const sockets = { path: folder, isNamed: true };
  let child: ChildProcess;
  const start = async (): Promise<void> => {
    await Promise.all(["kept.sock", "safe.sock"].map((name) => rm(join(folder, name), { force: true })));
    const env = { DAPR_COMPONENT_SOCKETS_FOLDER: folder, PATH: "" };
    child = spawn(program, [folder], { env, stdio: "ignore" });
    for (const name of ["kept", "safe"]) {
      await eventually(`${name}.sock is there`, async () => isListenedTo(await findSocket(sockets, name)));
    }
  };
  const end = (signal: NodeJS.Signals): Promise<void> =>
    new Promise((done) => {
      child.once("exit", () => done());
      child.kill(signal);
    });
  const kill = () => end("SIGKILL");
  const shutDown = () => end("SIGTERM");
  await start();
  const stop = async (): Promise<void> => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  return {
    server: {
      ...{ name: "pluggable", port: 0, folder, details: {}, start, kill, shutDown, stop },
      get pid() {
        return child.pid as number;
      },
    },
    sockets,
    async open<K extends ComponentKind>(type: `${K}.${string}`, items: Record<string, string> = {}) {
      const definition = await pluggableDefinition(type, "v1", sockets);
      if (definition === undefined) throw new Error(`there is no ${type}`);
      const values = new Map(Object.entries(items));
      const { options } = parseOptions(definition, values);
      const opened = await definition.open(options as never, componentHost({ allFields: values }));
      return opened as ComponentKinds[K];
    },
    stop,
  };
}
