import { expect, test } from "bun:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TopicEventRequestSchema } from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { CloudEvent } from "./cloud-event.ts";
import { topicEvent } from "./topic-event.ts";

const attributes = [
  ...[
    "id",
    "source",
    "type",
    "specversion",
    "datacontenttype",
    "data",
    "data_base64",
    "traceid",
    "traceparent",
  ],
  ...["tracestate", "expiration", "topic", "pubsubname", "baggage", "myext"],
];
const strange = [
  "7",
  "1e400",
  "-1e400",
  "true",
  "null",
  "[]",
  "[1,[null]]",
  "{}",
  '{"a":{"b":null}}',
  '"\\ud800"',
  '""',
];
strange.push(JSON.stringify("x".repeat(20_000)));

test("topicEvent() survives any value of any attribute", () => {
  for (const name of attributes) {
    for (const value of strange) {
      const event = new CloudEvent(Buffer.from(`{"id":"e1","data":"d",${JSON.stringify(name)}:${value}}`));
      expect(event.hasExpired(0)).toBe(false);
      void event.trace;
      void event.baggage;
      const sent = toBinary(
        TopicEventRequestSchema,
        topicEvent(event, { topic: "t", pubsubName: "p", path: "/" }),
      );
      expect(fromBinary(TopicEventRequestSchema, sent).topic).toBe("t");
    }
  }
});
