import type { HttpAddress, HttpTls } from "../net/http1/types.ts";
import type { AppName } from "./identity.ts";

/** An HTTPEndpoint with its secrets resolved. */
export interface ExternalEndpoint {
  baseUrl: string;
  /** Set on each request in place of the caller's lines of these names. */
  headers: readonly (readonly [name: string, value: string])[];
  tls?: HttpTls | undefined;
}

/** What an invoke id stands for. */
export type Target =
  | { kind: "app"; name: AppName; id: string }
  | {
      kind: "external";
      id: string;
      address: HttpAddress;
      basePath: string;
      headers: ExternalEndpoint["headers"];
    };

/** The id names nothing that could be called. */
export class InvalidTarget extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvalidTarget";
  }
}

const urlStart = /^https?:\/\/?/i;
const encodedUrlStart = /^https?(?::|%3a)(?:\/|%2f)/i;

/** `app`, `app.namespace`, an HTTPEndpoint's name or a URL, percent-encoded or with its slashes merged by a router. */
export function parseTarget(
  id: string,
  namespace: string,
  endpoint: (name: string) => ExternalEndpoint | undefined,
): Target {
  if (encodedUrlStart.test(id)) return external(id, { baseUrl: decodeUrl(id), headers: [] });
  const named = endpoint(id);
  if (named) return external(id, named);
  const parts = id.split(".");
  const [appId = "", ofNamespace = namespace] = parts;
  if (appId === "" && parts.length === 1) throw new InvalidTarget("app id is empty");
  if (parts.length > 2 || appId === "" || ofNamespace === "") throw new InvalidTarget(`invalid app id ${id}`);
  return { kind: "app", id, name: { appId, namespace: ofNamespace } };
}

function decodeUrl(id: string): string {
  try {
    return id.includes("%") ? decodeURIComponent(id) : id;
  } catch {
    throw new InvalidTarget(`invalid URL ${JSON.stringify(id)}`);
  }
}

function external(id: string, { baseUrl, headers, tls }: ExternalEndpoint): Target {
  // Routers merge the two slashes of a plain URL in a path.
  const text = baseUrl.replace(urlStart, (start) => `${start.replace(/\/+$/, "")}//`);
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw Object.assign(new InvalidTarget(`invalid URL ${JSON.stringify(baseUrl)}`), { cause });
  }
  const isTls = url.protocol === "https:";
  if (!isTls && url.protocol !== "http:")
    throw new InvalidTarget(`unsupported scheme in ${JSON.stringify(baseUrl)}`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const address: HttpAddress = { host, port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port) };
  if (isTls) address.tls = tls ?? {};
  return { kind: "external", id, address, basePath: url.pathname.replace(/\/+$/, ""), headers };
}
