import { posix } from "node:path";
import type { FileKind, Files, FolderListener, FolderWatch } from "./files.ts";

interface FileEntry {
  kind: "file";
  bytes: Uint8Array;
}
interface FolderEntry {
  kind: "folder";
  entries: Map<string, Entry>;
  /** A watch is of the folder, not of its name: it hears nothing of another that takes the name. */
  listeners: Set<FolderListener>;
}
interface LinkEntry {
  kind: "link";
  target: string;
}
type Entry = FileEntry | FolderEntry | LinkEntry;

const linksMax = 40;

/** A tree of files in memory, changed by the test; watches hear of changes before the next task. */
export class SimulatedFiles implements Files {
  readonly #root: FolderEntry = emptyFolder();

  // ---- the test's side

  /** Writes a file; the folders on the way are made. */
  write(path: string, content: string | Uint8Array): void {
    const bytes = typeof content === "string" ? Buffer.from(content) : Uint8Array.from(content);
    this.#put(path, { kind: "file", bytes });
  }

  makeFolder(path: string): void {
    this.#folderAt(segmentsOf(path));
  }

  link(path: string, target: string): void {
    this.#put(path, { kind: "link", target });
  }

  remove(path: string): void {
    this.#take(path);
  }

  /** Replaces what is there, as the system does. */
  rename(from: string, to: string): void {
    this.#put(to, this.#take(from));
  }

  // ---- mecha's side

  async read(path: string): Promise<Uint8Array> {
    const { entry } = this.#find(path);
    if (entry.kind === "folder") throw failure("EISDIR", "illegal operation on a directory", path);
    return entry.bytes.slice();
  }

  async list(folder: string): Promise<string[]> {
    return [...this.#findFolder(folder).entries.keys()];
  }

  async kind(path: string): Promise<FileKind> {
    return this.#find(path).entry.kind;
  }

  async realPath(path: string): Promise<string> {
    return this.#find(path).path;
  }

  watch(folder: string, listener: FolderListener): FolderWatch {
    const { listeners } = this.#findFolder(folder);
    listeners.add(listener);
    return { close: () => void listeners.delete(listener) };
  }

  // ---- the tree

  #findFolder(path: string): FolderEntry {
    const { entry } = this.#find(path);
    if (entry.kind !== "folder") throw failure("ENOTDIR", "not a directory", path);
    return entry;
  }

  #find(path: string): { entry: FileEntry | FolderEntry; path: string } {
    let left = segmentsOf(path);
    let at: FileEntry | FolderEntry = this.#root;
    let real = "/";
    let links = 0;
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      if (at.kind !== "folder") throw failure("ENOTDIR", "not a directory", path);
      const next: Entry | undefined = at.entries.get(name);
      if (next === undefined) throw failure("ENOENT", "no such file or directory", path);
      if (next.kind === "link") {
        if (++links > linksMax) throw failure("ELOOP", "too many symbolic links encountered", path);
        left = [...segmentsOf(posix.resolve(real, next.target)), ...left];
        at = this.#root;
        real = "/";
      } else {
        at = next;
        real = posix.join(real, name);
      }
    }
    return { entry: at, path: real };
  }

  #put(path: string, entry: Entry): void {
    const segments = segmentsOf(path);
    const name = segments.pop();
    if (name === undefined) throw failure("EEXIST", "file already exists", path);
    const folder = this.#folderAt(segments);
    folder.entries.set(name, entry);
    tell(folder);
  }

  #take(path: string): Entry {
    const folder = this.#findFolder(posix.dirname(posix.resolve("/", path)));
    const name = posix.basename(path);
    const entry = folder.entries.get(name);
    if (entry === undefined) throw failure("ENOENT", "no such file or directory", path);
    folder.entries.delete(name);
    tell(folder);
    if (entry.kind === "folder") tell(entry);
    return entry;
  }

  #folderAt(segments: readonly string[]): FolderEntry {
    let path = "/";
    for (const name of segments) {
      const parent = this.#findFolder(path);
      if (!parent.entries.has(name)) {
        parent.entries.set(name, emptyFolder());
        tell(parent);
      }
      path = posix.join(path, name);
    }
    return this.#findFolder(path);
  }
}

function emptyFolder(): FolderEntry {
  return { kind: "folder", entries: new Map(), listeners: new Set() };
}

/** Relative paths are of the root. */
function segmentsOf(path: string): string[] {
  return posix
    .resolve("/", path)
    .split("/")
    .filter((segment) => segment !== "");
}

function tell(folder: FolderEntry): void {
  for (const listener of folder.listeners)
    queueMicrotask(() => {
      if (folder.listeners.has(listener)) listener.onChange();
    });
}

function failure(code: string, message: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${message}, '${path}'`), { code });
}
