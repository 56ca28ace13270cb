import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { Kept, Vault } from "./vault.ts";

const lookEveryMs = 1000;

/** The authority of one machine: `<data>/identity/authority.json`, for its owner alone. Throws when it is open to others. */
export function openFolderVault(dataFolder: string, clock: Clock): Vault {
  const folder = join(dataFolder, "identity");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  checkMode(folder, 0o700);
  const path = join(folder, "authority.json");
  const read = (): Kept | undefined => {
    try {
      checkMode(path, 0o600);
      const text = readFileSync(path, "utf8");
      return { text, version: text };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  };
  return {
    place: path,
    read: async () => read(),
    write: async (text, before) => write(path, text, before, read()),
    watch: (listener) => look(read, clock, listener),
  };
}

function write(path: string, text: string, before: Kept | undefined, now: Kept | undefined): boolean {
  if (before?.version !== now?.version) return false;
  const fresh = `${path}.${process.pid}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, text, { mode: 0o600, flag: "wx" });
  try {
    // A link, unlike a rename, never takes the place of a file that another process has just made.
    if (before === undefined) linkSync(fresh, path);
    else renameSync(fresh, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(fresh, { force: true });
  }
}

function look(read: () => Kept | undefined, clock: Clock, listener: () => void): () => void {
  let seen = read()?.version;
  let timer: ClockTimer;
  const later = (): void => {
    timer = clock.setTimer(lookEveryMs, again, { background: true });
  };
  const again = (): void => {
    const version = quietly(read);
    if (version !== seen) listener();
    seen = version;
    later();
  };
  later();
  return () => timer.cancel();
}

/** What can not be read now is told when it is used. */
function quietly(read: () => Kept | undefined): string | undefined {
  try {
    return read()?.version;
  } catch {
    return "unreadable";
  }
}

/** Keys that others may read are no secrets: nothing is signed with them. */
function checkMode(path: string, allowed: number): void {
  const { mode } = statSync(path);
  if ((mode & 0o777 & ~allowed) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  const wanted = allowed.toString(8).padStart(4, "0");
  throw new Error(
    `${path} has mode ${shown}: others may read keys; make it ${wanted} (chmod ${wanted.slice(1)} ${path})`,
  );
}
