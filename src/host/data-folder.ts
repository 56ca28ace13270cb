import { chmodSync, mkdirSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";

export interface DataFolderRequest {
  /** `--data-dir`. */
  given?: string | undefined;
  env: Record<string, string | undefined>;
}

/**
 * Where mecha keeps its data: `--data-dir`, `MECHA_HOME`, `~/.mecha`; without a home directory a private folder under
 * the system's temporary one. Made with mode 0700.
 */
export function openDataFolder(request: DataFolderRequest): string {
  const folder = resolve(request.given ?? request.env.MECHA_HOME ?? defaultFolder(request.env));
  makeFolder(folder);
  const { mode, uid } = statSync(folder);
  const own = process.getuid?.() ?? uid;
  if (uid !== own) {
    throw new Error(
      `data folder ${folder} belongs to user ${uid}, not to ${own}: give another one with --data-dir`,
    );
  }
  if ((mode & 0o077) !== 0) chmodSync(folder, 0o700);
  return folder;
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const why = (error as Error).message;
    throw new Error(`data folder ${folder} can not be made: ${why}: give another one with --data-dir`);
  }
}

function defaultFolder(env: Record<string, string | undefined>): string {
  if (env.HOME !== undefined && env.HOME !== "" && env.HOME !== "/") return join(env.HOME, ".mecha");
  const user = process.getuid?.() ?? userInfo().username;
  return join(env.TMPDIR ?? tmpdir(), `mecha-${user}`);
}
