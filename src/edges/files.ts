import { watch } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";

/** Resource and secret files as the rest of mecha sees them. All reject with the system's codes (`ENOENT` …). */
export interface Files {
  read(path: string): Promise<Uint8Array>;
  /** The names in a folder, in no particular order. */
  list(folder: string): Promise<string[]>;
  /** Of what a link points to. */
  kind(path: string): Promise<FileKind>;
  /** Without links and relative parts: two names of one file give the same. */
  realPath(path: string): Promise<string>;
  /** Tells when something directly in the folder was added, changed or removed. Throws when there is no folder. */
  watch(folder: string, listener: FolderListener): FolderWatch;
}

export type FileKind = "file" | "folder" | "other";

export interface FolderListener {
  /** May come several times for one change; that nothing comes proves nothing (network drives, replaced folders). */
  onChange(): void;
  /** The watch is of no more use. */
  onEnd(): void;
}

export interface FolderWatch {
  close(): void;
}

export const realFiles: Files = {
  read: (path) => readFile(path),
  list: (folder) => readdir(folder),
  async kind(path) {
    const stats = await stat(path);
    if (stats.isDirectory()) return "folder";
    return stats.isFile() ? "file" : "other";
  },
  realPath: (path) => realpath(path),
  watch(folder, { onChange, onEnd }) {
    const watcher = watch(folder, { persistent: false }, onChange);
    watcher.on("error", onEnd);
    return watcher;
  },
};
