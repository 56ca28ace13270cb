import { type ComponentHost, component } from "../../component/component.ts";
import { choice, duration, flag, type Options, text } from "../../component/fields.ts";
import type { SecretStore } from "../../component/secret-store.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import type { Files } from "../../edges/files.ts";
import { JsonCursor } from "../../kit/json-cursor.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { HttpTls } from "../../net/http1/types.ts";
import { checkHttpUrl, type HttpAnswer, HttpServer } from "../clients/http-server.ts";

const fields = {
  vaultAddr: text({ description: "address of the server", default: "https://127.0.0.1:8200" }),
  caPem: text({ description: "certificates that may sign the server's, as PEM; before caPath and caCert" }),
  caPath: text({ description: "folder of such certificates; before caCert" }),
  caCert: text({ description: "file of such certificates" }),
  skipVerify: flag({ description: "take any certificate of the server", default: false }),
  tlsServerName: text({ description: "name that the server's certificate has to have" }),
  vaultToken: text({ description: "token; this or vaultTokenMountPath", sensitive: true }),
  vaultTokenMountPath: text({
    description: "file that holds the token; read again when the server refuses it",
  }),
  vaultKVPrefix: text({ description: "path before each secret's name", default: "dapr" }),
  vaultKVUsePrefix: flag({ description: "false: secrets have no vaultKVPrefix", default: true }),
  enginePath: text({ description: "where the KV engine (version 2) is mounted", default: "secret" }),
  vaultValueType: choice(["map", "text"], {
    description: "map: a secret has the values of its keys; text: one value, which is its JSON",
    default: "map",
  }),
  timeout: duration({ description: "longest wait for an answer", default: 10_000, min: 100, max: 600_000 }),
};

export default component({
  type: "secretstores.hashicorp.vault",
  version: "v1",
  status: "beta",
  summary: "Secrets of a KV engine (version 2) of HashiCorp Vault, or of OpenBao",
  metadata: fields,
  async open(options, host): Promise<SecretStore> {
    checkHttpUrl("vaultAddr", options.vaultAddr);
    const { edges, log } = host;
    if (options.skipVerify) log.warn({}, "vault: skipVerify takes any certificate of the server");
    const token = await Token.open(options, host);
    const tls = await tlsOf(options, edges.files);
    const { vaultAddr: url, timeout: timeoutMs } = options;
    const server = new HttpServer({ ...{ name: "vault", url, tls, timeoutMs }, clock: edges.clock });
    return new VaultSecrets(server, token, options);
  },
});

type Settings = Options<typeof fields>;

const answerBytesMax = 16 << 20;
const secretsMax = 10_000;
const atOnce = 8;

class VaultSecrets implements SecretStore {
  readonly features: SecretStore["features"];
  readonly #server: HttpServer;
  readonly #token: Token;
  readonly #settings: Settings;
  readonly #prefix: string;

  constructor(server: HttpServer, token: Token, settings: Settings) {
    this.#server = server;
    this.#token = token;
    this.#settings = settings;
    this.#prefix = settings.vaultKVUsePrefix ? settings.vaultKVPrefix || "dapr" : "";
    this.features = new Set(
      settings.vaultValueType === "map" ? (["MULTIPLE_KEY_VALUES_PER_SECRET"] as const) : [],
    );
  }

  async get(key: string, metadata: Record<string, string>): Promise<Record<string, string>> {
    const secret = await this.#secret(key, versionOf(metadata));
    // The text is Dapr's.
    if (secret === undefined) throw new Error(`getSecret ${key} failed secret key or version not exist`);
    return secret;
  }

  async bulkGet(metadata: Record<string, string>): Promise<Record<string, Record<string, string>>> {
    const version = versionOf(metadata);
    const names = await this.#names();
    const found: [string, Record<string, string>][] = [];
    await eachOf(names, async (name) => {
      const secret = await this.#secret(name, version);
      // One that has not this version.
      if (secret !== undefined) found.push([name, secret]);
    });
    return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async close(): Promise<void> {
    this.#server.close();
  }

  async #secret(name: string, version: string): Promise<Record<string, string> | undefined> {
    const answer = await this.#ask(`${this.#pathOf("data", name)}?version=${version}`);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) {
      const why = `couldn't get successful response, status code ${answer.status}, body ${shortened(answer)}`;
      throw failureOf(answer, `${this.#server.where}: ${why}`);
    }
    return this.#settings.vaultValueType === "map" ? mapOf(answer) : { [name]: textOf(answer) };
  }

  /** Of all secrets below the prefix, folder by folder. */
  async #names(): Promise<string[]> {
    const names: string[] = [];
    let folders = [""];
    while (folders.length > 0) {
      const below: string[] = [];
      await eachOf(folders, async (folder) => {
        for (const key of await this.#keys(folder)) (key.endsWith("/") ? below : names).push(folder + key);
        if (names.length + below.length > secretsMax)
          throw new Error(`${this.#server.where}: there are more than ${secretsMax} secrets`);
      });
      folders = below;
    }
    return names;
  }

  async #keys(folder: string): Promise<string[]> {
    const answer = await this.#ask(`${this.#pathOf("metadata", folder)}?list=true`);
    if (answer.status !== 200) {
      const { status, reason } = answer;
      const why = `list keys couldn't get successful response, status code: ${status}, status: ${status} ${reason}`;
      throw failureOf(answer, `${this.#server.where}: ${why}, response ${shortened(answer)}`);
    }
    const { data } = parsed(answer) as { data?: { keys?: unknown } };
    const keys = data?.keys;
    if (Array.isArray(keys) && keys.every((key) => typeof key === "string")) return keys;
    throw new Error(`${this.#server.where}: couldn't decode response body: it has no keys`);
  }

  /** Asks for the server's health, which needs no token: a standby is as good as the active one. */
  async ping(): Promise<void> {
    const { status, reason } = await this.#askAs("", "/v1/sys/health");
    if ([200, 429, 472, 473].includes(status)) return;
    const why = { 501: "it is not initialized", 503: "it is sealed" }[status] ?? `${status} ${reason}`;
    throw new Error(`${this.#server.where}: ${why}`);
  }

  async #ask(path: string): Promise<HttpAnswer> {
    const token = this.#token.value;
    const answer = await this.#askAs(token, path);
    if (answer.status !== 403 || !(await this.#token.isReplaced(token))) return answer;
    return this.#askAs(this.#token.value, path);
  }

  #askAs(token: string, path: string): Promise<HttpAnswer> {
    const headers = { "X-Vault-Token": token, "X-Vault-Request": "true", Accept: "application/json" };
    return this.#server.ask({ method: "GET", path, headers, bytesMax: answerBytesMax, isRead: true });
  }

  /** A name has no way out of the prefix. */
  #pathOf(what: "data" | "metadata", name: string): string {
    const parts = (path: string): string[] => path.split("/").filter((part) => part !== "");
    if (what === "data" && parts(name).length === 0) throw new Error("the name of the secret is empty");
    const path = [...parts(this.#prefix), ...parts(name)];
    if (path.some((part) => part === "." || part === ".."))
      throw new Error(`the secret's name ${JSON.stringify(name)} has a part that is . or ..`);
    const engine = parts(this.#settings.enginePath);
    const encoded = [...engine, what, ...path].map(encodeURIComponent).join("/");
    return `/v1/${encoded}${what === "metadata" ? "/" : ""}`;
  }
}

/** From the metadata, or from a file that somebody renews. */
class Token {
  value: string;
  readonly #path: string | undefined;
  readonly #files: Files;

  private constructor(value: string, path: string | undefined, files: Files) {
    this.value = value;
    this.#path = path;
    this.#files = files;
  }

  static async open({ vaultToken, vaultTokenMountPath }: Settings, host: ComponentHost): Promise<Token> {
    // The texts are Dapr's.
    if (!vaultToken && !vaultTokenMountPath)
      throw new Error("token mount path and token not set: vaultToken or vaultTokenMountPath");
    if (vaultToken && vaultTokenMountPath)
      throw new Error("token mount path and token both set: vaultToken or vaultTokenMountPath");
    const token = new Token(vaultToken ?? "", vaultTokenMountPath || undefined, host.edges.files);
    await token.#read();
    return token;
  }

  /** Whether there is another now than the one that was refused. */
  async isReplaced(refused: string): Promise<boolean> {
    await this.#read();
    return this.value !== refused;
  }

  async #read(): Promise<void> {
    if (this.#path === undefined) return;
    try {
      this.value = Buffer.from(await this.#files.read(this.#path))
        .toString()
        .trim();
    } catch (error) {
      const why = `couldn't read vault token from mount path ${this.#path} err: ${messageOf(error)}`;
      throw new Error(why, { cause: error });
    }
  }
}

async function tlsOf(settings: Settings, files: Files): Promise<HttpTls> {
  if (settings.skipVerify) return { rejectUnauthorized: false };
  const ca = await authorityOf(settings, files);
  const { tlsServerName: serverName } = settings;
  return { ...(ca !== undefined && { ca }), ...(serverName && { serverName }) };
}

async function authorityOf(
  { caPem, caPath, caCert }: Settings,
  files: Files,
): Promise<string | string[] | undefined> {
  if (caPem) return certificates("caPem", caPem);
  if (caPath) {
    const found = await filesBelow(caPath, files).catch((error: unknown) => {
      throw new Error(`couldn't read certificates at caPath ${caPath}: ${messageOf(error)}`, {
        cause: error,
      });
    });
    return Promise.all(found.map((path) => certificateFile("caPath", path, files)));
  }
  return caCert ? certificateFile("caCert", caCert, files) : undefined;
}

async function filesBelow(folder: string, files: Files): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await files.list(folder)).sort()) {
    const path = `${folder}/${name}`;
    // Mounted folders have their files twice, once in a folder behind a link.
    if (!name.startsWith("..") && (await files.kind(path)) === "file") found.push(path);
  }
  return found;
}

async function certificateFile(field: string, path: string, files: Files): Promise<string> {
  const content = await files.read(path).catch((error: unknown) => {
    throw new Error(`couldn't read CA file ${path} of ${field}: ${messageOf(error)}`, { cause: error });
  });
  return certificates(`${field} ${path}`, Buffer.from(content).toString());
}

function certificates(where: string, pem: string): string {
  if (pem.includes("-----BEGIN CERTIFICATE-----")) return pem;
  throw new Error(`couldn't read PEM of ${where}: it has no certificate`);
}

function versionOf({ version_id: version = "0" }: Record<string, string>): string {
  if (/^\d{1,15}$/.test(version)) return version;
  throw new Error(`version_id ${JSON.stringify(version)} is not a whole number`);
}

function mapOf(answer: HttpAnswer): Record<string, string> {
  const { data } = parsed(answer) as { data?: { data?: unknown } };
  const secret = data?.data ?? {};
  if (typeof secret !== "object" || Array.isArray(secret))
    throw new Error("couldn't decode response body: the secret is no object");
  const values = Object.entries(secret as Record<string, unknown>).map(([name, value]) => {
    if (typeof value === "string" || value === null) return [name, value ?? ""];
    throw new Error(
      `couldn't decode response body: the value of ${JSON.stringify(name)} is no text; vaultValueType text takes any`,
    );
  });
  return Object.fromEntries(values) as Record<string, string>;
}

/** The secret's JSON as it stands. */
function textOf(answer: HttpAnswer): string {
  parsed(answer);
  let found = "";
  const cursor = new JsonCursor(answer.text);
  cursor.object((name) => {
    if (name !== "data" || !cursor.isObject) return cursor.skip();
    cursor.object((inner) => {
      const value = cursor.value();
      if (inner === "data") found = value;
    });
  });
  return found;
}

function parsed({ text: body }: HttpAnswer): object {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // A parser's message could quote the secret.
  }
  throw new Error("couldn't decode response body: it is no JSON object");
}

function shortened({ text: body }: HttpAnswer): string {
  return body.trim().slice(0, 300);
}

/** A sealed server and one behind a proxy that does not reach it may be there later. */
function failureOf({ status }: HttpAnswer, why: string): Error {
  return [502, 503, 504].includes(status) ? new ServerUnavailable(why, "undone") : new Error(why);
}

/** Some at a time. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items].reverse();
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
}
