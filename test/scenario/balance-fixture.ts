import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { type AppReply, type AppRequest, fakeApp } from "../../src/testing/index.ts";
import { type Cleanup, eventually, type MechaProcess, startSidecar } from "../mecha-process.ts";

export const plainPath = "/test.Orders/Get";

export interface UpstreamView {
  app: string;
  instance: string;
  health: string;
  calls: number;
  timesEjected: number;
}

/** A caller in one process and instances of `orders` in others, on one store. */
export class Fleet {
  readonly #cleanup: Cleanup;
  readonly #data: string;
  readonly #resources: string;
  readonly #empty: string;
  readonly #words: readonly string[];
  #caller: { httpPort: number; grpcPort: number } | undefined;

  /** `words`: of the command line of each. */
  constructor(cleanup: Cleanup, blocks: string, words: readonly string[] = []) {
    this.#cleanup = cleanup;
    this.#words = words;
    const folder = cleanup.folder();
    this.#data = join(folder, "data");
    this.#resources = join(folder, "resources");
    this.#empty = join(folder, "empty");
    mkdirSync(this.#resources);
    mkdirSync(this.#empty);
    this.write(blocks);
  }

  /** Replaces the policy of the caller. */
  write(blocks: string): void {
    const head =
      "apiVersion: mecha.run/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: p }\nspec:\n" +
      "  targetRefs: [ { kind: App, name: orders } ]\n";
    writeFileSync(join(this.#resources, "policy.yaml"), `${head}${blocks}`);
  }

  async startCaller(): Promise<void> {
    this.#caller = await this.#start("caller", this.#resources, []);
  }

  /** An instance whose app is in this process. */
  async startHttp(
    answer: (request: AppRequest) => AppReply | Promise<AppReply>,
    words: string[] = [],
  ): Promise<MechaProcess> {
    const app = await fakeApp({ otherwise: answer });
    this.#cleanup.add(() => app.close());
    return (await this.#start("orders", this.#empty, ["--app-port", String(app.port), ...words])).process;
  }

  /** The same with a gRPC app, that answers with its bytes or fails with a code. */
  async startGrpc(answer: () => Uint8Array | number): Promise<MechaProcess> {
    const handle = (): Uint8Array => {
      const answered = answer();
      if (typeof answered === "number") throw new GrpcError(answered, "as told");
      return answered;
    };
    const server = createGrpcServer({
      lookup: (path) => (path === plainPath ? { kind: "unary", handle } : undefined),
    });
    const bound = await server.listen({ host: "127.0.0.1", port: 0 });
    this.#cleanup.add(() => server.close());
    const port = "port" in bound ? bound.port : 0;
    const words = ["--app-port", String(port), "--app-protocol", "grpc"];
    return (await this.#start("orders", this.#empty, words)).process;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#caller?.httpPort}`;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}/v1.0/invoke/orders/method${path}`, { headers });
  }

  /** Proxied calls of the app; answers the text of the reply. */
  grpc(): () => Promise<string> {
    const client = createGrpcClient({ host: "127.0.0.1", port: this.#caller?.grpcPort ?? 0 });
    this.#cleanup.add(() => client.close());
    return async () => {
      const metadata: [string, string][] = [["dapr-app-id", "orders"]];
      const reply = await client.unary(plainPath, new Uint8Array(0), { metadata });
      return Buffer.from(reply).toString();
    };
  }

  async upstreams(): Promise<UpstreamView[]> {
    const response = await fetch(`${this.url}/v1.0/metadata`);
    const body = (await response.json()) as { mecha?: { upstreams?: UpstreamView[] } };
    return body.mecha?.upstreams ?? [];
  }

  /** Until the caller knows as many instances. */
  async known(count: number, call: () => Promise<unknown> = () => this.get("/warm")): Promise<void> {
    await eventually(async () => {
      await call();
      const found = (await this.upstreams()).length;
      if (found !== count) throw new Error(`${found} of ${count} instances are known`);
    });
  }

  async #start(appId: string, resources: string, words: string[]) {
    const all = [...this.#words, ...words];
    const started = await startSidecar({ appId, resources, data: this.#data, words: all });
    this.#cleanup.process(started.process);
    await started.process.printed("dapr initialized. Status: Running.");
    return started;
  }
}

/** Calls without a pause by several at once until it is stopped; answers what failed and how many were made. */
export function load(call: () => Promise<string | undefined>, workers = 8) {
  const failures: string[] = [];
  let calls = 0;
  let isStopped = false;
  const run = async (): Promise<void> => {
    while (!isStopped) {
      const failure = await call().catch((error: Error) => error.message);
      calls++;
      if (failure !== undefined) failures.push(failure);
    }
  };
  const all = Promise.all(Array.from({ length: workers }, run));
  return {
    get calls() {
      return calls;
    },
    async stop(): Promise<string[]> {
      isStopped = true;
      await all;
      return failures;
    },
  };
}
