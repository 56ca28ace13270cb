import { closeSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { feedFileEnding, feedFileStaleAfterMs, markChanged } from "./feed-file.ts";

/** How often the folder is looked through for processes that ceased to watch without a word. */
const lookEveryMs = 10_000;
/** File systems tell a folder's time of change in steps of a few milliseconds: changes so young may hide others. */
const folderTimeStepMs = 20;
/** Between two wake-ups of the others: a busy writer must not cost them a wake-up for each of its commits. */
const wakeEveryMs = 4;

/** Wakes the processes that watch the store after a commit. Lives in the writing thread. */
export class FeedPeers {
  readonly #folder: string;
  readonly #ownFile: string;
  readonly #peers = new Map<string, number>();
  #pending = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #folderChangedAtMs = 0;
  #wokenAtMs = Number.NEGATIVE_INFINITY;
  #mark = Math.floor(Math.random() * 2 ** 32);

  constructor(ownPath: string, folder: string) {
    this.#ownFile = basename(ownPath);
    this.#folder = folder;
  }

  touched(channels: ReadonlySet<string>): void {
    if (channels.size === 0) return;
    const nowMs = performance.now();
    if (this.#mustLook(nowMs)) this.#look(nowMs);
    if (this.#peers.size === 0) return;
    for (const channel of channels) this.#pending.add(channel);
    if (this.#timer) return;
    const sinceMs = nowMs - this.#wokenAtMs;
    if (sinceMs >= wakeEveryMs) this.#wake();
    else this.#timer = setTimeout(() => this.#wake(), wakeEveryMs - sinceMs);
  }

  close(): void {
    if (this.#pending.size > 0) this.#wake();
    for (const name of this.#peers.keys()) this.#drop(name);
  }

  #wake(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wokenAtMs = performance.now();
    this.#mark = (this.#mark + 1) >>> 0;
    for (const [name, fd] of this.#peers) {
      try {
        markChanged(fd, this.#pending, this.#mark);
      } catch {
        // Its file system failed: the peer looks by itself every now and then.
        this.#drop(name);
      }
    }
    this.#pending = new Set();
  }

  /** Processes that begin or cease to watch change the folder: one look at its time tells. */
  #mustLook(nowMs: number): boolean {
    const changedAtMs = statSync(this.#folder, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const isKnown = changedAtMs === this.#folderChangedAtMs && Date.now() - changedAtMs > folderTimeStepMs;
    this.#folderChangedAtMs = changedAtMs;
    return !isKnown || nowMs - this.#lookedAtMs >= lookEveryMs;
  }

  #look(nowMs: number): void {
    this.#lookedAtMs = nowMs;
    const names = new Set(listFeeds(this.#folder).filter((name) => name !== this.#ownFile));
    for (const name of this.#peers.keys()) if (!names.has(name)) this.#drop(name);
    for (const name of names) {
      if (isStale(join(this.#folder, name))) {
        rmSync(join(this.#folder, name), { force: true });
        this.#drop(name);
      } else if (!this.#peers.has(name)) this.#add(name);
    }
  }

  #add(name: string): void {
    try {
      this.#peers.set(name, openSync(join(this.#folder, name), "r+"));
    } catch {
      // It ended between the look and the open.
    }
  }

  #drop(name: string): void {
    const fd = this.#peers.get(name);
    if (fd !== undefined) closeSync(fd);
    this.#peers.delete(name);
  }
}

function listFeeds(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(feedFileEnding));
  } catch {
    // No folder: nobody watches.
    return [];
  }
}

/** Owners set the access time; writers only change the modification time. */
function isStale(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.atimeMs > feedFileStaleAfterMs;
}
