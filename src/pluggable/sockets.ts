import type { Stats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Where components of other processes have their sockets: `my-store.sock` is `state.my-store`. */
export interface SocketFolder {
  path: string;
  /** Named by whoever runs mecha. What nobody named is a place where anybody may have put something. */
  isNamed: boolean;
}

const folderDefault = "/tmp/dapr-components-sockets";

export function socketFolder(env: Readonly<Record<string, string | undefined>>): SocketFolder {
  const path = env.DAPR_COMPONENTS_SOCKETS_FOLDER;
  return path ? { path, isNamed: true } : { path: folderDefault, isNamed: false };
}

/**
 * The path of the socket that is called `name`, whatever its ending. `undefined`: there is none yet; `"no folder"`:
 * nor will there be. Throws when what is there can not be trusted.
 */
export async function findSocket(
  folder: SocketFolder,
  name: string,
): Promise<string | undefined | "no folder"> {
  const stats = await lstat(folder.path).catch(() => undefined);
  if (stats === undefined && !folder.isNamed) return "no folder";
  if (stats === undefined) return undefined;
  if (!folder.isNamed) trust(folder.path, stats);
  const names = await readdir(folder.path);
  const wanted = name.toLowerCase();
  const found = names.filter((one) => stem(one).toLowerCase() === wanted).sort();
  for (const one of found) {
    const path = join(folder.path, one);
    const entry = await lstat(path).catch(() => undefined);
    if (entry === undefined) continue;
    if (!entry.isSocket()) throw new Error(`${path} is not a socket`);
    if (!folder.isNamed) refuseStranger(path, entry);
    return path;
  }
  return undefined;
}

function stem(file: string): string {
  const dot = file.lastIndexOf(".");
  return dot < 0 ? file : file.slice(0, dot);
}

function trust(path: string, stats: Stats): void {
  if (!stats.isDirectory()) throw new Error(`${path} is not a folder`);
  refuseStranger(path, stats);
  const isOpen = (stats.mode & 0o022) !== 0;
  const remedy = `take the right from others, or name the folder in DAPR_COMPONENTS_SOCKETS_FOLDER`;
  if (isOpen) throw new Error(`others may write to ${path}: ${remedy}`);
}

function refuseStranger(path: string, { uid }: Stats): void {
  const own = process.getuid?.() ?? uid;
  if (uid === own || uid === 0) return;
  throw new Error(
    `${path} belongs to user ${uid}: name its folder in DAPR_COMPONENTS_SOCKETS_FOLDER if that is meant`,
  );
}
