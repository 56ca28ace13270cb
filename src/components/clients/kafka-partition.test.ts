import { expect, test } from "bun:test";
import { KafkaPartition } from "./kafka-partition.ts";

function filled(...offsets: number[]): KafkaPartition {
  const partition = new KafkaPartition(0, 5n, 5n);
  for (const offset of offsets) {
    const place = { topic: "t", partition: 0, offset: BigInt(offset), timestampMs: 0 };
    partition.add({ ...place, key: undefined, value: new Uint8Array(), headers: [] });
  }
  return partition;
}

test("settles up to the first message that is not done", () => {
  const partition = filled(5, 6, 9);
  const begun = [partition.begin(), partition.begin(), partition.begin()];
  expect(begun.map((one) => one?.record.offset)).toEqual([5n, 6n, 9n]);
  expect(partition.begin()).toBeUndefined();
  expect([partition.waitingCount, partition.begunCount]).toEqual([0, 3]);
  begun[2]?.end("done");
  begun[1]?.end("done");
  expect([partition.settled, partition.begunCount]).toEqual([5n, 3]);
  begun[0]?.end("done");
  expect([partition.settled, partition.begunCount]).toEqual([10n, 0]);
});

test("what failed is settled by the next that does not", () => {
  const partition = filled(5, 6);
  partition.begin()?.end("failed");
  expect([partition.settled, partition.begunCount]).toEqual([5n, 0]);
  partition.begin()?.end("done");
  expect(partition.settled).toBe(7n);
});

test("keeps its order over many", () => {
  const partition = filled();
  const seen: bigint[] = [];
  for (let offset = 0; offset < 5_000; offset += 2) {
    const place = { topic: "t", partition: 0, timestampMs: 0, key: undefined };
    for (const one of [offset, offset + 1]) {
      partition.add({ ...place, offset: BigInt(one), value: new Uint8Array(), headers: [] });
    }
    const next = partition.begin();
    if (next !== undefined) seen.push(next.record.offset);
    next?.end("done");
  }
  for (let next = partition.begin(); next !== undefined; next = partition.begin()) {
    seen.push(next.record.offset);
    next.end("done");
  }
  expect(seen).toEqual(Array.from({ length: 5_000 }, (_, index) => BigInt(index)));
  expect([partition.settled, partition.waitingCount]).toEqual([5_000n, 0]);
});
