import { migrate } from "../../src/engine/store/migrations.ts";
import {
  type Answer,
  BytesPacker,
  packReply,
  packRequest,
  parseReply,
  parseRequest,
  type WriteOperation,
} from "../../src/engine/store/sqlite/batch-codec.ts";
import { BatchWriter } from "../../src/engine/store/sqlite/batch-writer.ts";
import { Connection } from "../../src/engine/store/sqlite/connection.ts";
import { Reads } from "../../src/engine/store/sqlite/reads.ts";

export interface Applied {
  answer: Answer;
  bytes: Uint8Array;
  touched: readonly string[];
}

/** The store's own SQL on a database in memory: what survives every crash of every host. */
export class SimulatedDisk {
  readonly reads: Reads;
  readonly #db = new Connection(":memory:");
  readonly #writer: BatchWriter;
  /** Sees every operation that was committed. */
  onApplied: (operation: WriteOperation, answer: Answer) => void = () => {};

  constructor() {
    migrate(this.#db, ":memory:");
    this.#writer = new BatchWriter(this.#db, 0);
    this.reads = new Reads(this.#db);
  }

  /** One operation, one commit. Everything takes the way to the writing thread and back. */
  apply(nowMs: number, operation: WriteOperation): Applied {
    const request = packRequest(nowMs, [operation]);
    const output = { reply: new BytesPacker(), touched: new Set<string>() };
    const answers = this.#writer.write(parseRequest(request), request.bytes, output);
    const reply = packReply({ answers, touched: [...output.touched] }, output.reply);
    const { answers: read, touched } = parseReply(reply);
    const answer = read[0] as Answer;
    if ("value" in answer) this.onApplied(operation, answer);
    return { answer, bytes: reply.bytes, touched };
  }

  /** How many messages of a topic somebody has claimed or nobody has handled. */
  unhandled(): { topic: string; group: string; pending: number; inFlight: number }[] {
    return this.reads
      .topicStats(undefined, 0)
      .flatMap(({ topic, groups }) => groups.map((group) => ({ topic, ...group })))
      .filter(({ pending, inFlight }) => pending + inFlight > 0);
  }

  close(): void {
    this.#db.close();
  }
}
