import type { KafkaRecord } from "./kafka-record.ts";

interface Begun {
  offset: bigint;
  state: "running" | "done" | "failed";
}

/** The messages of one partition that were fetched: begun in their order, settled up to the first that is not done. */
export class KafkaPartition {
  readonly partition: number;
  /** The next offset to fetch. */
  position: bigint;
  /** What the broker is to know: the offset after the last message that was handled, with all before it. */
  settled: bigint;
  /** What the broker knows. */
  committed: bigint;
  readonly #waiting: KafkaRecord[] = [];
  readonly #begun: Begun[] = [];
  /** Begins of `#waiting`: shifting a long array costs. */
  #head = 0;

  constructor(partition: number, position: bigint, committed: bigint) {
    this.partition = partition;
    this.position = position;
    this.settled = position;
    this.committed = committed;
  }

  get waitingCount(): number {
    return this.#waiting.length - this.#head;
  }

  /** Of those before which all is settled. */
  get begunCount(): number {
    return this.#begun.length;
  }

  add(record: KafkaRecord): void {
    this.#waiting.push(record);
  }

  /** The next message, and what to call when it is over. */
  begin(): { record: KafkaRecord; end(state: "done" | "failed"): void } | undefined {
    const record = this.#waiting[this.#head];
    if (record === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#waiting.length || this.#head > 1_000) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
    const entry: Begun = { offset: record.offset, state: "running" };
    this.#begun.push(entry);
    return {
      record,
      end: (state) => {
        entry.state = state;
        this.#settle();
      },
    };
  }

  #settle(): void {
    for (
      let first = this.#begun[0];
      first !== undefined && first.state !== "running";
      first = this.#begun[0]
    ) {
      // What failed and does not come again is settled by the next that does not fail, as in Dapr.
      if (first.state === "done") this.settled = first.offset + 1n;
      this.#begun.shift();
    }
  }
}
