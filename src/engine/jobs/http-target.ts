import { fromBinary, toJsonString } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { AppChannel } from "../../app/channel.ts";
import type { Job } from "./engine.ts";
import type { AnyData } from "./record.ts";
import type { JobTarget, TriggerOutcome } from "./target.ts";

const answerBytesMax = 4 * 1024 * 1024;
const valueType = "type.googleapis.com/google.protobuf.Value";

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

/** JSON of what came as JSON, else the bytes without the space round them: whatever their type, as from daprd. */
export function bodyOf({ typeUrl, value }: AnyData): string | Uint8Array {
  if (typeUrl !== valueType) return trimmed(value);
  try {
    return toJsonString(ValueSchema, fromBinary(ValueSchema, value));
  } catch {
    return value;
  }
}

function trimmed(bytes: Uint8Array): Uint8Array {
  let [from, to] = [0, bytes.length];
  while (from < to && isSpace(bytes[from])) from++;
  while (from < to && isSpace(bytes[to - 1])) to--;
  return bytes.subarray(from, to);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 32 || (byte !== undefined && byte >= 9 && byte <= 13);
}
