import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppRuntime, openAppRuntime } from "../../src/host/app-runtime.ts";
import { type Host, openHost } from "../../src/host/host.ts";
import { type RuntimeOptions, runtimeDefaults } from "../../src/host/options.ts";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { quietLog } from "./invoke-fixture.ts";

export interface Member {
  host: Host;
  runtime: AppRuntime;
  log(): string;
  /** Calls the HTTP API. */
  ask(line: string, body?: string): Promise<{ status: number; text: string }>;
  close(): Promise<void>;
}

export const call = "POST /v1.0/invoke/orders/method/orders";
export const taken = { status: 200, text: "taken" };

/** Calls without a pause, some at a time, until it is stopped; tells what was not answered as it should. */
export function load(member: Member, { parallel = 4, line = call } = {}) {
  const failures: string[] = [];
  let calls = 0;
  let isOver = false;
  const work = async (): Promise<void> => {
    while (!isOver) {
      const { status, text } = await member.ask(line, "{}");
      calls++;
      if (status !== 200) failures.push(`${status} ${text}`);
    }
  };
  const workers = Array.from({ length: parallel }, work);
  return {
    calls: () => calls,
    async stop() {
      isOver = true;
      await Promise.all(workers);
      return failures;
    },
  };
}

const noRetries = {
  retries: { DaprBuiltInServiceRetries: { policy: "constant", duration: "1ms", maxRetries: 0 } },
};

/** Runtimes that share a data folder, each as if in a process of its own, with mTLS between them. */
export class Mesh {
  readonly folder = mkdtempSync(join(tmpdir(), "mecha-identity-"));
  readonly #closers: (() => Promise<void>)[] = [];
  readonly #client = createHttpClient();

  async member(
    appId: string,
    options: Partial<RuntimeOptions> = {},
    env: Record<string, string> = {},
  ): Promise<Member> {
    const host = await openHost({ dataFolder: this.folder, env, log: quietLog, write: () => undefined });
    const opened = this.#open(host, appId, options);
    return opened.catch(async (error) => {
      await host.close();
      throw error;
    });
  }

  /** Another app of the same process. */
  beside(member: Member, appId: string): Promise<Member> {
    return this.#open(member.host, appId, {}, async () => undefined);
  }

  async #open(
    host: Host,
    appId: string,
    options: Partial<RuntimeOptions>,
    after = () => host.close(),
  ): Promise<Member> {
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line);
    const ports = { httpPort: 0, grpcPort: 0, enableMetrics: false, listenAddresses: ["127.0.0.1"] };
    const all = {
      ...runtimeDefaults,
      ...ports,
      appId,
      enableMtls: true,
      gracefulShutdownSeconds: 0,
      ...options,
    };
    const runtime = await openAppRuntime({ host, options: all, write });
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => {
      closing ??= runtime.close().then(after);
      return closing;
    };
    this.#closers.push(close);
    const ask: Member["ask"] = async (line, body) => {
      const [method = "GET", target = "/"] = line.split(" ");
      const address = { host: "127.0.0.1", port: runtime.ports.http };
      const reply = await this.#client.request(address, { method, target, headers: [], body });
      return { status: reply.status, text: Buffer.from(await reply.body.bytes(1 << 20)).toString() };
    };
    return { host, runtime, log: () => lines.join(""), ask, close };
  }

  /** A Configuration with this spec. */
  config(spec: object): string[] {
    return [join(this.#resource({ kind: "Configuration", metadata: { name: "c" }, spec }), "resource.yaml")];
  }

  /** Writes another spec to it. */
  edit([path = ""]: readonly string[], spec: object): void {
    this.#write(path, { kind: "Configuration", metadata: { name: "c" }, spec });
  }

  /** No call is tried again. */
  atOnce(): { resourcesPaths: string[] } {
    return { resourcesPaths: this.resiliency({ policies: noRetries }) };
  }

  /** A folder with a Resiliency of this spec. */
  resiliency(spec: object): string[] {
    return [this.#resource({ kind: "Resiliency", metadata: { name: "r" }, spec: { targets: {}, ...spec } })];
  }

  #resource(resource: object): string {
    const folder = mkdtempSync(join(this.folder, "resource-"));
    this.#write(join(folder, "resource.yaml"), resource);
    return folder;
  }

  #write(path: string, resource: object): void {
    writeFileSync(path, JSON.stringify({ apiVersion: "dapr.io/v1alpha1", ...resource }));
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    this.#client.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
