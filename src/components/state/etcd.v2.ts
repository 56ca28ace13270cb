import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { component } from "../../component/component.ts";
import type { StateStore } from "../../component/state-store.ts";
import type { Clock } from "../../edges/clock.ts";
import { openEtcd } from "../clients/etcd.ts";
import { type EtcdLayout, EtcdStateStore, etcdStateFields } from "../clients/etcd-state.ts";

export default component({
  type: "state.etcd",
  version: "v2",
  status: "stable",
  summary:
    "etcd 3.4 or newer, in Dapr's second layout: values with the time of the write and how long they live",
  metadata: etcdStateFields,
  open: async (options, host): Promise<StateStore> =>
    new EtcdStateStore(await openEtcd(options, host), layoutBy(host.edges.clock), options),
});

/** The message that Dapr keeps: the value (1), when it was written (2), and for how long (3). */
function layoutBy(clock: Clock): EtcdLayout {
  return {
    stored(value, ttlSeconds) {
      const nowMs = clock.now();
      const writer = new BinaryWriter();
      writer.tag(1, WireType.LengthDelimited).bytes(value);
      writer.tag(2, WireType.LengthDelimited).bytes(moment(Math.floor(nowMs / 1_000), (nowMs % 1_000) * 1e6));
      if (ttlSeconds !== undefined) writer.tag(3, WireType.LengthDelimited).bytes(moment(ttlSeconds, 0));
      return writer.finish();
    },
    read(stored) {
      const fields = messagesOf(stored);
      const [writtenMs, livesMs] = [millisecondsOf(fields.get(2)), millisecondsOf(fields.get(3))];
      // Dapr writes a time of 0 for what does not expire.
      const expiresAtMs = livesMs > 0 ? writtenMs + livesMs : undefined;
      return { value: fields.get(1) ?? new Uint8Array(), expiresAtMs };
    },
  };
}

/** A Timestamp, or a Duration: they are alike. */
function moment(seconds: number, nanos: number): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(seconds);
  writer.tag(2, WireType.Varint).int32(Math.trunc(nanos));
  return writer.finish();
}

function millisecondsOf(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 0;
  const reader = new BinaryReader(bytes);
  const parts = { seconds: 0, nanos: 0 };
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) parts.seconds = Number(reader.int64());
    else if (field === 2) parts.nanos = reader.int32();
    else reader.skip(type);
  }
  return parts.seconds * 1_000 + Math.trunc(parts.nanos / 1e6);
}

function messagesOf(stored: Uint8Array): Map<number, Uint8Array> {
  const reader = new BinaryReader(stored);
  const fields = new Map<number, Uint8Array>();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.set(field, reader.bytes());
    else reader.skip(type);
  }
  return fields;
}
