import type { Instance } from "./instance.ts";

/** Instances this runtime ran last, so that their next turn reads no history. */
export class InstanceCache {
  readonly #instances = new Map<string, Instance>();
  #bytes = 0;

  get(id: string): Instance | undefined {
    return this.#instances.get(id);
  }

  /** An instance never changes in here: each turn keeps its own. */
  keep(instance: Instance): void {
    this.drop(instance.id);
    if (weight(instance) > bytesMax / 4) return;
    this.#instances.set(instance.id, instance);
    this.#bytes += weight(instance);
    for (const [id] of this.#instances) {
      if (this.#bytes <= bytesMax) break;
      this.drop(id);
    }
  }

  drop(id: string): void {
    const instance = this.#instances.get(id);
    if (instance === undefined) return;
    this.#instances.delete(id);
    this.#bytes -= weight(instance);
  }
}

const bytesMax = 32 << 20;

/** Objects cost beside the bytes they hold. */
function weight({ bytes, history }: Instance): number {
  return bytes + history.length * 100 + 2000;
}
