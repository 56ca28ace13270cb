// A real sshd for the suites of SFTP.
import { readFileSync } from "node:fs";
import type { Binding } from "../../src/component/binding.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import sftp from "../../src/components/bindings/sftp.ts";
import { type Service, startService } from "../services.ts";
import { componentHost } from "./component-host.ts";

export interface TestSftp {
  server: Service;
  /** The folder of the binding's files. */
  files: string;
  /** An item that is empty is left out. */
  open(items?: Record<string, string>): Promise<Binding>;
}

export async function startSftp(): Promise<TestSftp> {
  const server = await startService("openssh");
  const { username, files, hostPublicKey, keyFile } = server.details as Record<string, string>;
  return {
    server,
    files: files as string,
    open(items = {}) {
      const all = {
        ...{ address: `127.0.0.1:${server.port}`, username, rootPath: files, hostPublicKey },
        ...{ privateKey: readFileSync(keyFile as string, "utf8"), timeout: "5s", ...items },
      } as Record<string, string>;
      const values = new Map(Object.entries(all).filter(([, value]) => value !== ""));
      const { options } = parseOptions(sftp as unknown as ComponentDefinition<ComponentKind>, values);
      return sftp.open(options as never, componentHost());
    },
  };
}
