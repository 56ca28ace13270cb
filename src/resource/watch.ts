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

export interface WatchOptions extends LoadOptions {
  clock: Clock;
  /** `print` of the set that is in use. What changed since is reported at once; absent: what is there now is known. */
  since?: string;
  /** A full look without any event: what the system's notification missed. Default 60 s. */
  reconcileIntervalMs?: number;
  /** How long after an event it waits for more. Default 200 ms. */
  settleMs?: number;
  /** A changed set, checked. */
  onChange: (resources: ResourceSet) => void | Promise<void>;
  /** A changed set that can not be used (`ResourceErrors`), or a folder that can not be read. The old set stays. */
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
 * Watches folders and files of resources. Each state of the files is reported once, as a set or as an error.
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
    this.#known = since ?? (await this.#read()).print;
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
    const { onChange, onError } = this.#options;
    try {
      if ("error" in read) throw read.error;
      const resources = await checkResources(read, this.#options);
      if (!this.#isClosed) await onChange(resources);
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)));
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

/** Of a single file its folder is watched: a file that is replaced is another one. */
async function folderOf(path: string, files: Files): Promise<string> {
  try {
    return (await files.kind(path)) === "folder" ? path : dirname(path);
  } catch {
    return path;
  }
}
