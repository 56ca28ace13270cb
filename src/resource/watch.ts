import { createHash } from "node:crypto";
import { type FSWatcher, statSync, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock, ClockTimer } from "../edges/clock.ts";
import { filesOf, type LoadOptions, loadResources, type ResourceSet } from "./load.ts";

export interface WatchOptions extends LoadOptions {
  clock: Clock;
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
 * Watches folders and files of resources. The set at the start counts as known: call it right after `loadResources`
 * with the same paths. Each state of the files is reported once.
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
  readonly #watchers = new Map<string, FSWatcher>();
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
    this.#watchAll();
    this.#known = await this.#print();
    this.#reconcileLater();
  }

  reconcile(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#settleTimer?.cancel();
    this.#reconcileTimer?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    await this.#looking;
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    this.#watchAll();
    const print = await this.#print();
    if (print === this.#known) return;
    this.#known = print;
    const { onChange, onError } = this.#options;
    try {
      const resources = await loadResources(this.#paths, this.#options);
      // The files may have changed while they were read; then the next look finds another print.
      if (!this.#isClosed) await onChange(resources);
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Of all contents, so that a rewrite of the same bytes is no change. What can not be read is part of it. */
  async #print(): Promise<string> {
    const hash = createHash("sha256");
    try {
      for (const file of await filesOf(this.#paths)) {
        hash.update(`\n${file}\n`).update(await readFile(file));
      }
    } catch (error) {
      hash.update(String(error));
    }
    return hash.digest("hex");
  }

  /** A folder that went and came back needs a new watch, so this is done before each look. */
  #watchAll(): void {
    for (const folder of new Set(this.#paths.map(folderOf))) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#settle());
        watcher.on("error", () => this.#unwatch(folder));
        this.#watchers.set(folder, watcher);
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
function folderOf(path: string): string {
  try {
    return statSync(path).isDirectory() ? path : dirname(path);
  } catch {
    return path;
  }
}
