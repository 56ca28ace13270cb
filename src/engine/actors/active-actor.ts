import type { ClockTimer } from "../../edges/clock.ts";
import type { TypeConfig } from "./config.ts";
import type { ActorRef, Fence } from "./engine.ts";
import { TurnLock } from "./turn-lock.ts";

/** An actor that lives in this runtime. */
export class ActiveActor implements ActorRef {
  readonly type: string;
  readonly id: string;
  readonly config: TypeConfig;
  readonly lock: TurnLock;
  /** The ownership it was activated under. */
  readonly fence: Fence;
  readonly timers = new Map<string, ClockTimer>();
  lastUsedMs: number;
  /** Present while it is leaving: resolves when it is gone. */
  leaving: Promise<void> | undefined;
  /** It was deactivated: a turn that still runs may commit nothing more. */
  isDeactivated = false;
  #quiet: (() => void)[] = [];

  constructor(actor: ActorRef, config: TypeConfig, fence: Fence, nowMs: number) {
    this.type = actor.type;
    this.id = actor.id;
    this.config = config;
    this.fence = fence;
    this.lastUsedMs = nowMs;
    this.lock = new TurnLock(config.reentrancy.isEnabled ? config.reentrancy.depthMax : 0);
  }

  /** After each turn. */
  noteTurnEnd(nowMs: number): void {
    this.lastUsedMs = nowMs;
    if (!this.lock.isFree) return;
    for (const tell of this.#quiet.splice(0)) tell();
  }

  /** Resolves when no turn runs or waits. */
  whenQuiet(): Promise<void> {
    if (this.lock.isFree) return Promise.resolve();
    return new Promise((resolve) => this.#quiet.push(resolve));
  }

  cancelTimers(): number {
    const count = this.timers.size;
    for (const timer of this.timers.values()) timer.cancel();
    this.timers.clear();
    return count;
  }
}

export function keyOf({ type, id }: ActorRef): string {
  return `${type}||${id}`;
}
