import { posix } from "node:path";
import type SftpClient from "ssh2-sftp-client";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, type Options, text } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import { type HostKey, knownKeys, publicKey } from "../clients/known-hosts.ts";
import { SftpLink } from "../clients/sftp.ts";

const fields = {
  address: text({ description: "host:port of the server", required: true }),
  rootPath: text({ description: "folder of the files", required: true }),
  fileName: text({ description: "file, when the request names none" }),
  username: text({ description: "user", required: true }),
  password: text({ description: "the user's password", sensitive: true }),
  privateKey: text({ description: "the user's key, as PEM or in OpenSSH's format", sensitive: true }),
  privateKeyPassphrase: text({ description: "passphrase of privateKey", sensitive: true }),
  hostPublicKey: text({ description: "the server's key: a line such as ssh-ed25519 AAAA…" }),
  knownHostsFile: text({ description: "known_hosts file with the server's keys; before hostPublicKey" }),
  insecureIgnoreHostKey: flag({ description: "take any key of the server", default: false }),
  sequentialMode: flag({ description: "one operation at a time", default: false }),
  timeout: duration({
    description: "longest wait for a connection, and for an operation",
    default: 60_000,
    min: 100,
    max: 3_600_000,
  }),
};

export default component({
  type: "bindings.sftp",
  version: "v1",
  status: "beta",
  summary: "Files of an SFTP server: written whole, never outside of the folder",
  package: "ssh2-sftp-client",
  metadata: fields,
  async open(options, { edges, log }): Promise<Binding> {
    const { host, port } = addressOf(options.address);
    if (!options.password && !options.privateKey)
      throw new Error("sftp binding error: password or privateKey is missing");
    if (options.insecureIgnoreHostKey)
      log.warn({}, "sftp: insecureIgnoreHostKey takes any key of the server");
    const { username, password, privateKey, privateKeyPassphrase, sequentialMode } = options;
    const link = await SftpLink.open({
      ...{ host, port, username, password, privateKey, privateKeyPassphrase },
      hostKeys: await hostKeysOf(options, edges, { host, port }),
      ...{ timeoutMs: options.timeout, atOnceMax: sequentialMode ? 1 : atOnceMax, clock: edges.clock },
    });
    return new SftpBinding(link, options, edges);
  },
});

const atOnceMax = 8;
const fileBytesMax = 256 << 20;
const filesMax = 100_000;

interface Address {
  host: string;
  port: number;
}

function addressOf(address: string): Address {
  const [, host = "", port = "22"] = /^\[?([^\s\]]+?)\]?(?::(\d{1,5}))?$/.exec(address) ?? [];
  if (host !== "" && Number(port) > 0 && Number(port) < 65_536) return { host, port: Number(port) };
  throw new Error(`address ${JSON.stringify(address)} is no host:port`);
}

async function hostKeysOf(
  { insecureIgnoreHostKey, knownHostsFile, hostPublicKey }: Options<typeof fields>,
  { files }: Edges,
  { host, port }: Address,
): Promise<HostKey[] | undefined> {
  if (insecureIgnoreHostKey) return undefined;
  if (knownHostsFile) {
    const content = await files.read(knownHostsFile).catch((error: unknown) => {
      const why = `sftp binding error: read known host file error: knownHostsFile: ${messageOf(error)}`;
      throw new Error(why, { cause: error });
    });
    const keys = knownKeys(Buffer.from(content).toString(), host, port);
    if (keys.length > 0) return keys;
    throw new Error(`knownHostsFile ${knownHostsFile} has no key of ${host}:${port}`);
  }
  if (hostPublicKey) {
    try {
      return [publicKey(hostPublicKey)];
    } catch (error) {
      const why = `sftp binding error: parse host public key error: hostPublicKey: ${messageOf(error)}`;
      throw new Error(why, { cause: error });
    }
  }
  throw new Error(
    "sftp binding error: no host validation method provided: knownHostsFile, hostPublicKey or insecureIgnoreHostKey",
  );
}

class SftpBinding implements Binding {
  readonly operations = ["create", "get", "delete", "list"];
  readonly #link: SftpLink;
  readonly #rootPath: string;
  readonly #fileName: string | undefined;
  readonly #edges: Edges;

  constructor(link: SftpLink, { rootPath, fileName }: Options<typeof fields>, edges: Edges) {
    this.#link = link;
    this.#rootPath = posix.normalize(rootPath).replace(/(.)\/+$/, "$1");
    this.#fileName = fileName;
    this.#edges = edges;
  }

  async invoke({ operation, metadata, data }: BindingRequest): Promise<BindingReply | undefined> {
    const path = this.#pathOf(metadata);
    switch (operation) {
      case "create":
        return this.#create(path, data);
      case "get":
        return { data: await this.#run(true, `error reading file ${path}`, (client) => read(client, path)) };
      case "list":
        return this.#list(path);
      case "delete":
        if (path === this.#rootPath) throw new Error("sftp binding error: fileName is missing");
        await this.#run(false, `error remove file ${path}`, (client) => client.delete(path));
        return undefined;
      default:
        throw new Error(`unsupported operation ${operation}`);
    }
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async #create(path: string, data: Uint8Array): Promise<BindingReply> {
    if (path === this.#rootPath) throw new Error("sftp binding error: fileName is missing");
    const part = posix.join(posix.dirname(path), `.${this.#edges.random.uuid()}.part`);
    await this.#run(false, `error create file ${path}`, (client) => write(client, { path, part, data }));
    const fileName = posix.basename(path);
    return { data: Buffer.from(JSON.stringify({ fileName })), metadata: { fileName } };
  }

  async #list(path: string): Promise<BindingReply> {
    const found = await this.#run(true, `error read dir ${path}`, (client) => client.list(path));
    const shown = found.filter(({ name }) => !isPart(name));
    if (shown.length > filesMax) throw new Error(`there are ${shown.length} files, more than ${filesMax}`);
    const files = shown.map(({ name, type }) => ({ fileName: name, isDirectory: type === "d" }));
    files.sort((a, b) => (a.fileName < b.fileName ? -1 : 1));
    return { data: Buffer.from(JSON.stringify(files)) };
  }

  async #run<T>(isRead: boolean, what: string, work: (client: SftpClient) => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(isRead, work);
    } catch (error) {
      if (error instanceof ServerUnavailable) throw error;
      throw new Error(`sftp binding error: ${what}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** In the folder, whatever the request says. */
  #pathOf({ rootPath = "", fileName = "" }: Record<string, string>): string {
    const folder = rootPath === "" ? this.#rootPath : posix.normalize(rootPath).replace(/(.)\/+$/, "$1");
    const path = posix.join(folder, fileName || this.#fileName || "").replace(/(.)\/+$/, "$1");
    if (path.includes("\0")) throw new Error("sftp binding error: fileName has a character U+0000");
    if ([folder, path].every((one) => this.#isInside(one))) return path;
    throw new Error(
      `sftp binding error: ${JSON.stringify(path)} is outside of the rootPath of the component`,
    );
  }

  #isInside(path: string): boolean {
    const root = this.#rootPath;
    if (root === ".") return !path.startsWith("/") && path !== ".." && !path.startsWith("../");
    return path === root || path.startsWith(root.endsWith("/") ? root : `${root}/`);
  }
}

interface Written {
  path: string;
  part: string;
  data: Uint8Array;
}

/** Nobody sees half a file: it gets its name when all of it is there. */
async function write(client: SftpClient, { path, part, data }: Written): Promise<void> {
  const folder = posix.dirname(path);
  await makeFolder(client, folder);
  try {
    await client.put(Buffer.from(data), part);
    await client.posixRename(part, path).catch(async (error: unknown) => {
      if (!/unsupported|not support/i.test(messageOf(error))) throw error;
      await client.delete(path, true);
      await client.rename(part, path);
    });
  } catch (error) {
    client.delete(part, true).catch(() => undefined);
    throw error;
  }
}

const makeTriesMax = 5;

/** Somebody else may make it, or a part of it, at the same time. */
async function makeFolder(client: SftpClient, folder: string): Promise<void> {
  for (let tries = 1; !(await client.exists(folder)); tries++) {
    await client.mkdir(folder, true).catch((error: unknown) => {
      if (tries >= makeTriesMax) throw error;
    });
  }
}

async function read(client: SftpClient, path: string): Promise<Uint8Array> {
  const { size } = await client.stat(path);
  if (size > fileBytesMax) throw new Error(`it has ${size} bytes, more than ${fileBytesMax}`);
  return (await client.get(path)) as Buffer;
}

function isPart(name: string): boolean {
  return /^\.[0-9a-f-]{36}\.part$/.test(name);
}
