import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../../app/channel.ts";
import type { BindingEvent } from "../../component/binding.ts";
import type { Components, LoadedComponent } from "../../component/components.ts";
import { Code } from "../../errors.ts";
import { type GrpcClient, GrpcError } from "../../net/grpc/types.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import {
  BindingEventRequestSchema,
  BindingEventResponseSchema,
  BindingEventResponse_BindingEventConcurrency as Concurrency,
  ListInputBindingsResponseSchema,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import type { BindingGuardOf } from "./guard.ts";

/** Resiliency round a delivery (`inbound`) and round what an app's answer sends on (`outbound`). */
export type BindingPolicy = <T>(
  component: string,
  direction: "inbound" | "outbound",
  attempt: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

const oneAttempt: BindingPolicy = (_component, _direction, attempt, signal) => attempt(signal);

/** The app did not take an event. */
export class BindingRefused extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`the app answered ${status}`);
    this.name = "BindingRefused";
    this.status = status;
  }
}

export interface InputBindingsOptions {
  principal: { namespace: string; appId: string };
  components: Components;
  channel: AppChannel | undefined;
  telemetry: Telemetry;
  guardOf?: BindingGuardOf | undefined;
  policy?: BindingPolicy | undefined;
}

/** Brings what input bindings read to the app (dapr-api.md §11.6). */
export interface InputBindings {
  start(): Promise<void>;
  close(): void;
}

const callback = "/dapr.proto.runtime.v1.AppCallback";
const nothing = new Uint8Array(0);
const answerBytesMax = 4 << 20;
const deliveryTimeoutMs = 600_000;

export function createInputBindings(options: InputBindingsOptions): InputBindings {
  return new AppBindings(options);
}

class AppBindings implements InputBindings {
  readonly #options: InputBindingsOptions;
  readonly #reading = new WeakSet<object>();
  readonly #closing = new AbortController();
  #unlisten: (() => void) | undefined;

  constructor(options: InputBindingsOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { components, channel } = this.#options;
    if (channel === undefined || this.#closing.signal.aborted) return;
    this.#unlisten = components.onChange(({ kind, name }) => {
      const changed = kind === "bindings" ? components.find("bindings", name) : undefined;
      if (changed !== undefined) void this.#open(changed, channel);
    });
    await Promise.all(components.list("bindings").map((loaded) => this.#open(loaded, channel)));
  }

  close(): void {
    this.#unlisten?.();
    this.#closing.abort(new Error("the runtime is closing"));
  }

  async #open(loaded: LoadedComponent<"bindings">, channel: AppChannel): Promise<void> {
    const { instance, name } = loaded;
    const log = this.#options.telemetry.log.scope("dapr.runtime.processor.binding");
    if (instance.read === undefined || this.#reading.has(instance)) return;
    this.#reading.add(instance);
    try {
      if (!(await this.#isWanted(loaded, channel))) {
        log.info({}, `app has not subscribed to binding ${name}.`);
        return;
      }
      await instance.read((event) => {
        const guard = this.#options.guardOf?.(name);
        const attempt = (signal: AbortSignal) => this.#deliver(loaded, channel, event, signal);
        const hand = () => this.#policy(name, "inbound", attempt, this.#closing.signal);
        return guard === undefined ? hand() : guard.deliver(event, hand);
      });
    } catch (error) {
      this.#reading.delete(instance);
      log.error({ error }, `error reading from input binding ${name}`);
    }
  }

  get #policy(): BindingPolicy {
    return this.#options.policy ?? oneAttempt;
  }

  async #isWanted(loaded: LoadedComponent<"bindings">, channel: AppChannel): Promise<boolean> {
    const direction = loaded.properties.get("direction")?.toLowerCase() ?? "";
    if (direction !== "") return direction.split(",").some((one) => one.trim() === "input");
    const { signal } = this.#closing;
    if (channel.grpc !== undefined)
      return (await namesOf(channel, channel.grpc, signal)).includes(loaded.name);
    const response = await channel.http({ method: "OPTIONS", target: pathOf(loaded), headers: [], signal });
    await response.body.bytes(answerBytesMax);
    return response.status === 405 || (response.status >= 200 && response.status <= 299);
  }

  async #deliver(
    loaded: LoadedComponent<"bindings">,
    channel: AppChannel,
    event: BindingEvent,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const { telemetry, principal } = this.#options;
    const startedMs = performance.now();
    let success = "true";
    try {
      if (!channel.isHealthy) throw new Error("app is not in a healthy state");
      if (channel.grpc !== undefined)
        return await this.#deliverGrpc(loaded.name, { channel, client: channel.grpc, event, signal });
      return await deliverHttp(pathOf(loaded), channel, event, signal);
    } catch (error) {
      success = "false";
      if (!signal.aborted) telemetry.log.warn({ error }, `an event of binding ${loaded.name} failed`);
      throw error;
    } finally {
      const labels = {
        app_id: principal.appId,
        component: loaded.name,
        namespace: principal.namespace,
        success,
      };
      telemetry.metrics.counter("component_input_binding_count", labels).add();
      telemetry.metrics
        .histogram("component_input_binding_latencies", labels)
        .record(performance.now() - startedMs);
    }
  }

  async #deliverGrpc(
    name: string,
    { channel, client, event, signal: ended }: GrpcDelivery,
  ): Promise<Uint8Array> {
    const { data, metadata } = event;
    const request = toBinary(
      BindingEventRequestSchema,
      create(BindingEventRequestSchema, { name, data, metadata }),
    );
    const signal = AbortSignal.any([ended, AbortSignal.timeout(deliveryTimeoutMs)]);
    const call = { metadata: channel.grpcMetadata(undefined), signal };
    const answer = await channel.withSlot(
      () => client.unary(`${callback}/OnBindingEvent`, request, call),
      signal,
    );
    const response = fromBinary(BindingEventResponseSchema, answer);
    const sends = response.to.map((target) => () => this.#send(target, response.data));
    if (response.concurrency === Concurrency.PARALLEL) await Promise.all(sends.map((send) => send()));
    else for (const send of sends) await send();
    return response.data;
  }

  async #send(name: string, data: Uint8Array): Promise<void> {
    const output = this.#options.components.find("bindings", name)?.instance;
    const invoke = output?.invoke?.bind(output);
    if (invoke === undefined) throw new Error(`couldn't find output binding ${name}`);
    const attempt = () => invoke({ operation: "create", data, metadata: {} });
    await this.#policy(name, "outbound", attempt, this.#closing.signal);
  }
}

interface GrpcDelivery {
  channel: AppChannel;
  client: GrpcClient;
  event: BindingEvent;
  signal: AbortSignal;
}

async function namesOf(channel: AppChannel, client: GrpcClient, signal: AbortSignal): Promise<string[]> {
  try {
    const metadata = channel.grpcMetadata(undefined);
    const answer = await client.unary(`${callback}/ListInputBindings`, nothing, { metadata, signal });
    return fromBinary(ListInputBindingsResponseSchema, answer).bindings;
  } catch (error) {
    if (error instanceof GrpcError && error.code === Code.Unimplemented) return [];
    throw error;
  }
}

async function deliverHttp(
  target: string,
  channel: AppChannel,
  { data, metadata, contentType }: BindingEvent,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const headers = ["Content-Type", contentType ?? "application/json"];
  for (const name in metadata) headers.push(name, metadata[name] ?? "");
  const timeoutMs = deliveryTimeoutMs;
  const response = await channel.http({ method: "POST", target, headers, body: data, signal, timeoutMs });
  const body = await response.body.bytes(answerBytesMax);
  if (response.status < 200 || response.status > 299) throw new BindingRefused(response.status);
  return body;
}

/** `route` of the metadata, else the component's name. */
function pathOf({ name, properties }: LoadedComponent<"bindings">): string {
  const route = properties.get("route") || name;
  return `/${route.replace(/^\//, "")}`;
}
