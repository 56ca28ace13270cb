import { create, toBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../../app/channel.ts";
import { Code } from "../../errors.ts";
import { type GrpcClient, GrpcError } from "../../net/grpc/types.ts";
import { HTTPExtension_Verb } from "../../wire/dapr/proto/common/v1/common_pb.js";
import { JobEventRequestSchema } from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import type { Job } from "./engine.ts";
import type { JobTarget, TriggerOutcome } from "./target.ts";

const stablePath = "/dapr.proto.runtime.v1.AppCallback/OnJobEvent";
const alphaPath = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1";

/** Triggers jobs of a gRPC app through its AppCallback service, the alpha one when it has no other. */
export class GrpcJobTarget implements JobTarget {
  readonly #channel: AppChannel;
  readonly #client: GrpcClient;
  readonly #timeoutMs: number;
  #path = stablePath;

  constructor(channel: AppChannel, client: GrpcClient, timeoutMs: number) {
    this.#channel = channel;
    this.#client = client;
    this.#timeoutMs = timeoutMs;
  }

  async trigger(job: Job, signal: AbortSignal): Promise<TriggerOutcome> {
    const request = create(JobEventRequestSchema, {
      name: job.name,
      ...(job.data && { data: job.data }),
      method: `job/${job.name}`,
      contentType: job.data?.typeUrl ?? "",
      httpExtension: { verb: HTTPExtension_Verb.POST },
    });
    try {
      await this.#call(toBinary(JobEventRequestSchema, request), signal);
      return { kind: "done" };
    } catch (error) {
      const code = error instanceof GrpcError ? error.code : Code.Unknown;
      const reason = (error as Error).message;
      if (code === Code.Unavailable) return { kind: "away", reason };
      return { kind: code === Code.NotFound ? "unknown" : "failed", reason };
    }
  }

  async #call(request: Uint8Array, signal: AbortSignal): Promise<void> {
    try {
      await this.#callPath(this.#path, request, signal);
    } catch (error) {
      const isAbsent = error instanceof GrpcError && error.code === Code.Unimplemented;
      if (!isAbsent || this.#path === alphaPath) throw error;
      await this.#callPath(alphaPath, request, signal);
      this.#path = alphaPath;
    }
  }

  async #callPath(path: string, request: Uint8Array, signal: AbortSignal): Promise<void> {
    const metadata = this.#channel.grpcMetadata(undefined);
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]);
    await this.#channel.withSlot(
      () => this.#client.unary(path, request, { metadata, signal: bounded }),
      signal,
    );
  }
}
