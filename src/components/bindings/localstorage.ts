import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { Edges } from "../../edges/edges.ts";

export default component({
  type: "bindings.localstorage",
  version: "v1",
  status: "stable",
  summary: "Files of a folder: written whole and synced, never outside of the folder",
  metadata: {
    rootPath: text({ description: "the folder; made when it is not there", required: true }),
  },
  async open({ rootPath }, { edges }): Promise<Binding> {
    return new LocalStorage(await openRoot(rootPath), edges);
  },
});

/** Dapr's: what is there is the system's, or secret. */
const forbiddenRoots = ["/proc", "/sys", "/boot", "/var/run/secrets"];
const operations = ["create", "get", "list", "delete"];
const filesMax = 100_000;

async function openRoot(rootPath: string): Promise<string> {
  if (rootPath === "") throw new Error("property rootPath must not be empty");
  const wanted = resolve(rootPath);
  // Before anything is made: a link may lead there.
  await refuseForbidden(await realpathOfPart(wanted));
  await mkdir(wanted, { recursive: true }).catch((error: Error) => {
    const text = `unable to create directory specified by 'rootPath' ${wanted}: ${error.message}`;
    throw new Error(text, { cause: error });
  });
  return realpath(wanted);
}

async function refuseForbidden(path: string): Promise<void> {
  for (const root of forbiddenRoots) {
    const real = await realpath(root).catch(() => root);
    for (const one of [root, real]) {
      if (path === one || path.startsWith(one + sep))
        throw new Error("property rootPath points to a disallowed location");
    }
  }
}

/** The real path of what is there of it, and the rest as it is. */
async function realpathOfPart(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined) return real;
  const parent = dirname(path);
  return parent === path ? path : join(await realpathOfPart(parent), basename(path));
}

class LocalStorage implements Binding {
  readonly operations = operations;
  readonly #root: string;
  readonly #edges: Edges;

  constructor(root: string, edges: Edges) {
    this.#root = root;
    this.#edges = edges;
  }

  async invoke({ operation, metadata, data }: BindingRequest): Promise<BindingReply | undefined> {
    const named = metadata.fileName ?? "";
    switch (operation) {
      case "create":
        return this.#create(named || this.#edges.random.uuid(), data);
      case "get":
        return { data: await this.#get(named) };
      case "delete":
        return this.#delete(named);
      case "list":
        return this.#list(named);
      default:
        throw new Error(`unsupported operation ${operation}`);
    }
  }

  async close(): Promise<void> {}

  /** Nobody sees half a file: it gets its name when all of it is on the disk. */
  async #create(fileName: string, data: Uint8Array): Promise<BindingReply> {
    const path = await this.#pathOf(fileName);
    await mkdir(dirname(path), { recursive: true });
    const part = join(dirname(path), `.${this.#edges.random.uuid()}.part`);
    try {
      const file = await open(part, "wx");
      try {
        await file.writeFile(contentOf(data));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(part, path);
    } catch (error) {
      await rm(part, { force: true });
      throw new Error(`error writing to file ${path}: ${(error as Error).message}`, { cause: error });
    }
    await syncFolder(dirname(path));
    return { data: Buffer.from(JSON.stringify({ fileName: relative(this.#root, path) })) };
  }

  async #get(fileName: string): Promise<Uint8Array> {
    const path = await this.#pathOf(fileName);
    return readFile(path, { flag: constants.O_RDONLY | constants.O_NOFOLLOW }).catch((error: Error) => {
      throw isMissing(error) ? new Error(`file not found: ${path}`, { cause: error }) : error;
    });
  }

  async #delete(fileName: string): Promise<undefined> {
    const path = await this.#pathOf(fileName);
    if (path === this.#root) throw new Error("error deleting file: fileName is missing");
    await rm(path).catch((error: Error) => {
      throw new Error(`error deleting file ${path}: ${error.message}`, { cause: error });
    });
  }

  async #list(fileName: string): Promise<BindingReply> {
    const path = await this.#pathOf(fileName);
    const found = await stat(path).catch((error: Error) => {
      throw new Error(`error getting stats for path ${path}: ${error.message}`, { cause: error });
    });
    if (!found.isDirectory()) {
      throw new Error(`unable to list files as the file specified is not a directory: ${path}`);
    }
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => entry.isFile() && !/^\..*\.part$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    if (files.length > filesMax) throw new Error(`there are ${files.length} files, more than ${filesMax}`);
    return { data: Buffer.from(JSON.stringify(files)) };
  }

  /** A path in the folder, also behind every link. */
  async #pathOf(fileName: string): Promise<string> {
    if (fileName.includes("\0")) throw new Error("fileName has a character U+0000");
    const path = resolve(this.#root, `.${sep}${fileName}`);
    const real = await realpathOfPart(path);
    if (![path, real].every((one) => one === this.#root || one.startsWith(this.#root + sep))) {
      throw new Error(`error getting absolute path for file ${fileName}: it is outside of rootPath`);
    }
    return real;
  }
}

/** As in Dapr a JSON text is its value, and what is base64 is what it stands for. */
function contentOf(data: Uint8Array): Uint8Array {
  let bytes = Buffer.from(data);
  if (bytes[0] === 0x22) {
    try {
      bytes = Buffer.from(JSON.parse(bytes.toString()) as string);
    } catch {
      // It only begins like one.
    }
  }
  const text = bytes.toString("latin1");
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, "base64") : bytes;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: string }).code === "ENOENT";
}
