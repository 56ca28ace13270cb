// Stands in for HashiCorp Vault, which can not be installed here: KV version 2 of its HTTP API, and no more.
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Pair } from "../scenario/tls-fixture.ts";

type Versions = (string | undefined)[];

export interface VaultServer {
  port: number;
  url: string;
  token: string;
  isSealed: boolean;
  /** Paths that were asked for, in order. */
  asked: string[];
  /** Writes the next version of a secret: JSON text. */
  put(path: string, json: string): void;
  /** Removes the last version. */
  delete(path: string): void;
  close(): void;
}

/** `mount`: where the KV engine is. */
export async function startVault({ mount = "secret", tls }: { mount?: string; tls?: Pair } = {}) {
  const secrets = new Map<string, Versions>();
  const answer: RequestListener = (request, response) => {
    const url = new URL(request.url ?? "/", "http://vault");
    vault.asked.push(request.url ?? "");
    const reply = replyTo(vault, secrets, {
      mount,
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      method: request.method ?? "",
      headers: request.headers,
    });
    response.writeHead(reply.status, { "content-type": "application/json" }).end(reply.json);
  };
  const server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const vault: VaultServer = {
    port,
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    token: "root",
    isSealed: false,
    asked: [],
    put: (path, json) => void secrets.set(path, [...(secrets.get(path) ?? []), json]),
    delete: (path) => void secrets.set(path, [...(secrets.get(path) ?? []).slice(0, -1), undefined]),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return vault;
}

interface Asked {
  mount: string;
  path: string;
  query: URLSearchParams;
  method: string;
  headers: Record<string, string | string[] | undefined>;
}
interface Reply {
  status: number;
  json: string;
}

const errors = (status: number, ...texts: string[]): Reply => ({
  status,
  json: JSON.stringify({ errors: texts }),
});

function replyTo(vault: VaultServer, secrets: Map<string, Versions>, asked: Asked): Reply {
  if (asked.path === "/v1/sys/health") return { status: vault.isSealed ? 503 : 200, json: "{}" };
  if (vault.isSealed) return errors(503, "Vault is sealed");
  if (asked.headers["x-vault-token"] !== vault.token) return errors(403, "permission denied");
  if (asked.headers["x-vault-request"] !== "true") return errors(400, "missing X-Vault-Request");
  if (asked.method !== "GET") return errors(405);
  const [, what, path] = new RegExp(`^/v1/${asked.mount}/(data|metadata)/(.*)$`).exec(asked.path) ?? [];
  if (path === undefined) return errors(404, `no handler for route ${asked.path}`);
  if (what === "metadata") return asked.query.get("list") === "true" ? listing(secrets, path) : errors(405);
  return secret(secrets.get(path), asked.query.get("version"));
}

function secret(versions: Versions | undefined, version: string | null): Reply {
  if (version === null || !/^\d+$/.test(version)) return errors(400, "version is no number");
  const number = Number(version) || (versions?.length ?? 0);
  const metadata = JSON.stringify({
    created_time: "2026-01-01T00:00:00Z",
    destroyed: false,
    version: number,
  });
  if (versions === undefined || number > versions.length) return errors(404);
  const json = versions[number - 1];
  const data = `{"data":${json ?? "null"},"metadata":${metadata}}`;
  return { status: json === undefined ? 404 : 200, json: `{"request_id":"1","lease_id":"","data":${data}}` };
}

function listing(secrets: Map<string, Versions>, folder: string): Reply {
  const below = [...secrets.keys()].filter((path) => path.startsWith(folder));
  const keys = new Set(below.map((path) => path.slice(folder.length).replace(/\/.*/, "/")));
  if (keys.size === 0) return errors(404);
  return { status: 200, json: JSON.stringify({ data: { keys: [...keys].sort() } }) };
}
