import {
  closeSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  utimesSync,
  watch,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

/**
 * How processes that share a store tell each other what changed: each process that watches owns one small file of
 * numbered slots; who commits writes a new number into the slots of the channels it touched, in the files of the
 * others. The kernel wakes the owner. Two channels may share a slot: the wake-up is a hint.
 */
const slots = 1024;
/** Channels written one by one; beyond, `everything` is changed instead. */
const channelsMax = 64;
/** The slot that stands for all channels. */
const everything = 0;
const secondLookAfterMs = 3;
const fileBytes = slots * 4;

export const feedFileEnding = ".feed";
/** An owner that has not shown life for so long is gone: its file is removed by whoever meets it. */
export const feedFileStaleAfterMs = 60_000;

export function feedFolder(storeFolder: string): string {
  return join(storeFolder, "feeds");
}

/** The owner's side: wakes up when another process changed a slot. */
export class FeedFile {
  readonly #path: string;
  readonly #onChange: (changed: (channel: string) => boolean) => void;
  #fd: number | undefined;
  #watcher: FSWatcher | undefined;
  #secondLook: NodeJS.Timeout | undefined;
  #seen = new Uint32Array(slots);

  constructor(path: string, onChange: (changed: (channel: string) => boolean) => void) {
    this.#path = path;
    this.#onChange = onChange;
  }

  /** False when the kernel grants no more watches: the owner must look by itself then. */
  open(): boolean {
    this.close();
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      this.#fd = openSync(this.#path, "w+", 0o600);
      writeSync(this.#fd, new Uint8Array(fileBytes));
      this.#seen = new Uint32Array(slots);
      this.#watcher = watch(this.#path, { persistent: false }, () => this.#woken());
      this.#watcher.on("error", () => this.close());
      return true;
    } catch {
      this.close();
      return false;
    }
  }

  /** Shows that the owner lives; false when the file is gone, as after a long pause. */
  beat(): boolean {
    try {
      const now = Date.now() / 1000;
      utimesSync(this.#path, now, now);
      return this.#fd !== undefined;
    } catch {
      return false;
    }
  }

  close(): void {
    clearTimeout(this.#secondLook);
    this.#secondLook = undefined;
    this.#watcher?.close();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#watcher = undefined;
    this.#fd = undefined;
    rmSync(this.#path, { force: true });
  }

  /** Bun passes on one of several events of the same millisecond: what came after it is seen by a second look. */
  #woken(): void {
    this.#look();
    this.#secondLook ??= setTimeout(() => {
      this.#secondLook = undefined;
      this.#look();
    }, secondLookAfterMs);
  }

  #look(): void {
    if (this.#fd === undefined) return;
    const now = new Uint32Array(slots);
    readSync(this.#fd, now, 0, fileBytes, 0);
    const before = this.#seen;
    this.#seen = now;
    const all = now[everything] !== before[everything];
    this.#onChange((channel) => all || now[slotOf(channel)] !== before[slotOf(channel)]);
  }
}

/** The other side: marks channels as changed in somebody's file. */
export function markChanged(fd: number, channels: ReadonlySet<string>, mark: number): void {
  const indexes = channels.size > channelsMax ? [everything] : new Set(Array.from(channels, slotOf));
  const bytes = new Uint32Array([mark]);
  for (const index of indexes) writeSync(fd, bytes, 0, 4, index * 4);
}

/** FNV-1a; never the slot that stands for all. */
function slotOf(channel: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < channel.length; at++) {
    hash = Math.imul(hash ^ channel.charCodeAt(at), 0x01000193);
  }
  return 1 + ((hash >>> 0) % (slots - 1));
}
