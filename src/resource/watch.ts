import { dirname } from "node:path";
import type { Clock, ClockTimer } from "../edges/clock.ts";
import type { Files, FolderWatch } from "../edges/files.ts";
import {
  checkResources,
  type LoadOptions,
  type ReadFiles,
  type ResourceSet,
  readResourceFiles,
} from "./load.ts";
import { ResourceErrors } from "./problem.ts";

export interface WatchOptions extends LoadOptions {
  clock: Clock;
  /** `print` of the set that is in use. What changed since is reported at once; absent: what is there now is known. */
  since?: string;
  /** A full look without any event: what the system's notification missed. Default 60 s. */
  reconcileIntervalMs?: number;
  /** How long after an event it waits for more. Default 200 ms. */
  settleMs?: number;
  /** A changed set, checked: of files that can not be used, their last usable version. */
  onChange: (resources: ResourceSet) => void | Promise<void>;
  /** Changed files that can not be used (`ResourceErrors`), or a folder that can not be read. What was there stays. */
  onError: (error: Error) => void;
}

export interface ResourceWatch {
  /** Looks at once; resolves when what it found was handed over. */
  reconcile(): Promise<void>;
  close(): Promise<void>;
}

const reconcileDefaultMs = 60_000;
const settleDefaultMs = 200;

/**
 * Watches folders and files of resources. Each state of the files is reported once: as a set, as an error, or as both
 * when some of the files are good.
 */
export async function watchResources(
  paths: readonly string[],
  options: WatchOptions,
): Promise<ResourceWatch> {
  const watching = new Watching(paths, options);
  await watching.start();
  return watching;
}

class Watching implements ResourceWatch {
  readonly #paths: readonly string[];
  readonly #options: WatchOptions;
  readonly #watchers = new Map<string, FolderWatch>();
  #known = "";
  /** What the set in use was read from; `undefined` when it was another than the one found at the start. */
  #inUse: ReadFiles["files"] | undefined;
  #settleTimer: ClockTimer | undefined;
  #reconcileTimer: ClockTimer | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(paths: readonly string[], options: WatchOptions) {
    this.#paths = paths;
    this.#options = options;
  }

  async start(): Promise<void> {
    const { since } = this.#options;
    await this.#watchAll();
    const read = await this.#read();
    this.#known = since ?? read.print;
    if ("files" in read && read.print === this.#known) this.#inUse = read.files;
    this.#reconcileLater();
    if (since !== undefined) void this.reconcile();
  }

  reconcile(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#settleTimer?.cancel();
    this.#reconcileTimer?.cancel();
    await this.#looking;
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    await this.#watchAll();
    const read = await this.#read();
    if (read.print === this.#known) return;
    this.#known = read.print;
    try {
      if ("error" in read) throw read.error;
      await this.#use(read);
    } catch (error) {
      this.#options.onError(error instanceof Error ? error : new Error(String(error)));
      if (error instanceof ResourceErrors && "files" in read) await this.#useRest(read, error);
    }
  }

  async #use(read: ReadFiles): Promise<void> {
    const resources = await checkResources(read, this.#options);
    if (this.#isClosed) return;
    await this.#options.onChange(resources);
    this.#inUse = read.files;
  }

  /** A mistake in one file does not keep the others from being used. */
  async #useRest(read: ReadFiles, { problems }: ResourceErrors): Promise<void> {
    const inUse = this.#inUse;
    if (inUse === undefined) return;
    const isBad = (path: string): boolean => problems.some(({ source }) => source.file === path);
    const before = inUse.filter(({ path }) => isBad(path));
    const rest = [...before, ...read.files.filter(({ path }) => !isBad(path))].sort(
      (a, b) => indexIn(read, a.path) - indexIn(read, b.path),
    );
    if (isSame(rest, inUse)) return;
    try {
      await this.#use({ ...read, files: rest });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.warn({}, `the files without mistakes can not be used without the others: ${why}`);
    }
  }

  /** That the files can not be read is a state too. */
  async #read(): Promise<ReadFiles | { print: string; error: unknown }> {
    try {
      return await readResourceFiles(this.#paths, this.#options.files);
    } catch (error) {
      return { print: String(error), error };
    }
  }

  /** A folder that went and came back needs a new watch, so this is done before each look. */
  async #watchAll(): Promise<void> {
    const { files } = this.#options;
    const folders = await Promise.all(this.#paths.map((path) => folderOf(path, files)));
    for (const folder of new Set(folders)) {
      if (this.#watchers.has(folder)) continue;
      try {
        const listener = { onChange: () => this.#settle(), onEnd: () => this.#unwatch(folder) };
        this.#watchers.set(folder, files.watch(folder, listener));
      } catch {
        // The folder is not there: the reconciling look tells, and tries again.
      }
    }
  }

  #unwatch(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
  }

  /** Editors and Kubernetes write in several steps: look when they have come to rest. */
  #settle(): void {
    if (this.#isClosed) return;
    const { clock, settleMs = settleDefaultMs } = this.#options;
    // The first event starts the wait: a stream of events can not put it off for ever.
    this.#settleTimer ??= clock.setTimer(
      settleMs,
      () => {
        this.#settleTimer = undefined;
        void this.reconcile();
      },
      { background: true },
    );
  }

  #reconcileLater(): void {
    const { clock, reconcileIntervalMs = reconcileDefaultMs } = this.#options;
    const look = () => {
      // A watch can be dead without a word when its folder was replaced.
      for (const folder of [...this.#watchers.keys()]) this.#unwatch(folder);
      void this.reconcile();
      if (!this.#isClosed) this.#reconcileLater();
    };
    this.#reconcileTimer = clock.setTimer(reconcileIntervalMs, look, { background: true });
  }
}

function indexIn({ files }: ReadFiles, path: string): number {
  return files.findIndex((file) => file.path === path);
}

function isSame(a: ReadFiles["files"], b: ReadFiles["files"]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ path, bytes }, index) => {
    const other = b[index];
    return other?.path === path && Buffer.from(bytes).equals(other.bytes);
  });
}

/** Of a single file its folder is watched: a file that is replaced is another one. */
async function folderOf(path: string, files: Files): Promise<string> {
  try {
    return (await files.kind(path)) === "folder" ? path : dirname(path);
  } catch {
    return path;
  }
}
