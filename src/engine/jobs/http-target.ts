import { create, createRegistry, fromBinary, toJsonString } from "@bufbuild/protobuf";
import {
  AnySchema,
  BoolValueSchema,
  BytesValueSchema,
  DoubleValueSchema,
  DurationSchema,
  EmptySchema,
  FloatValueSchema,
  Int32ValueSchema,
  Int64ValueSchema,
  ListValueSchema,
  StringValueSchema,
  StructSchema,
  TimestampSchema,
  UInt32ValueSchema,
  UInt64ValueSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import type { AppChannel } from "../../app/channel.ts";
import type { Job } from "./engine.ts";
import type { AnyData } from "./record.ts";
import type { JobTarget, TriggerOutcome } from "./target.ts";

const answerBytesMax = 4 * 1024 * 1024;
const valueType = "type.googleapis.com/google.protobuf.Value";

/** Types every program knows: an Any of them has a JSON form. */
const wellKnown = createRegistry(
  BoolValueSchema,
  BytesValueSchema,
  DoubleValueSchema,
  DurationSchema,
  EmptySchema,
  FloatValueSchema,
  Int32ValueSchema,
  Int64ValueSchema,
  ListValueSchema,
  StringValueSchema,
  StructSchema,
  TimestampSchema,
  UInt32ValueSchema,
  UInt64ValueSchema,
  ValueSchema,
);

/** Triggers jobs of an HTTP app: POST /job/<name> (dapr-api.md §9.4). */
export class HttpJobTarget implements JobTarget {
  readonly #channel: AppChannel;
  readonly #timeoutMs: number;

  constructor(channel: AppChannel, timeoutMs: number) {
    this.#channel = channel;
    this.#timeoutMs = timeoutMs;
  }

  async trigger(job: Job, signal: AbortSignal): Promise<TriggerOutcome> {
    try {
      const response = await this.#channel.http({
        method: "POST",
        target: `/job/${encodeURIComponent(job.name)}`,
        headers: ["Content-Type", "application/json"],
        body: job.data && bodyOf(job.data),
        signal,
        timeoutMs: this.#timeoutMs,
      });
      await response.body.bytes(answerBytesMax);
      const { status } = response;
      if (status >= 200 && status <= 299) return { kind: "done" };
      if (status === 404) return { kind: "unknown" };
      return { kind: "failed", reason: `the app answered ${status}` };
    } catch (error) {
      const { name, message } = error as Error;
      return { kind: name === "ConnectError" ? "away" : "failed", reason: message };
    }
  }
}

/** JSON of what has a JSON form, else the bytes as they are. */
export function bodyOf(data: AnyData): string | Uint8Array {
  try {
    if (data.typeUrl === valueType) return toJsonString(ValueSchema, fromBinary(ValueSchema, data.value));
    return toJsonString(AnySchema, create(AnySchema, data), { registry: wellKnown });
  } catch {
    return data.value;
  }
}
