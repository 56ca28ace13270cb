// A real etcd for the contract suites.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { base64, type EtcdEntry } from "../../src/components/clients/etcd.ts";
import { type Service, startService } from "../services.ts";

interface TestAnswer {
  kvs?: EtcdEntry[];
  token?: string;
}

export interface TestEtcd {
  server: Service;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  /** A call of the gateway, such as `auth/enable`. */
  ask(call: string, request: object, token?: string): Promise<TestAnswer>;
  /** What is kept at the key, as the gateway has it. */
  entries(key: string): Promise<EtcdEntry[]>;
  put(key: string, value: string | Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startEtcd(
  settings: Record<string, string> = {},
  tls?: { ca: string; cert: string; key: string },
): Promise<TestEtcd> {
  const server = await startService("etcd", { options: settings });
  const ask = async (call: string, request: object, token?: string): Promise<TestAnswer> => {
    const body = JSON.stringify(request);
    const response = await fetch(`${server.details.url}/v3/${call}`, {
      ...{ method: "POST", body, headers: token ? { Authorization: token } : {} },
      ...(tls && { tls }),
    });
    if (!response.ok) throw new Error(`etcd: ${await response.text()}`);
    return (await response.json()) as TestAnswer;
  };
  return {
    server,
    options: (definition, items) =>
      etcdOptions(definition, { endpoints: `127.0.0.1:${server.port}`, ...items }),
    ask,
    entries: async (key) => (await ask("kv/range", { key: base64(key) })).kvs ?? [],
    async put(key, value) {
      await ask("kv/put", { key: base64(key), value: base64(value) });
    },
    async delete(key) {
      await ask("kv/deleterange", { key: base64(key) });
    },
    stop: () => server.stop(),
  };
}

/** The metadata of a component, as the loader reads it. */
export function etcdOptions<O>(definition: object, items: Record<string, string>): O {
  const values = new Map(Object.entries(items));
  return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
}
