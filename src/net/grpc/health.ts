import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { grpcCode } from "./status.ts";
import { GrpcError, type GrpcMethod } from "./types.ts";

/** grpc.health.v1.HealthCheckResponse.ServingStatus. */
const servingStatus = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;

export type ServingStatus = "SERVING" | "NOT_SERVING";

/** The standard health service, grpc.health.v1.Health. */
export interface GrpcHealth {
  /** The methods Check, List and Watch; `undefined` for any other path. */
  lookup(path: string): GrpcMethod | undefined;
  /** The empty name stands for the server as a whole. */
  set(service: string, status: ServingStatus): void;
  delete(service: string): void;
}

/** List answers no more services than this. */
const listMax = 100;

export function createGrpcHealth(): GrpcHealth {
  const statuses = new Map<string, ServingStatus>();
  const watchers = new Set<Watcher>();
  const methods: Record<string, GrpcMethod> = {
    "/grpc.health.v1.Health/Check": {
      kind: "unary",
      handle: (request) => check(statuses, readService(request)),
    },
    "/grpc.health.v1.Health/List": { kind: "unary", handle: () => list(statuses) },
    "/grpc.health.v1.Health/Watch": {
      kind: "stream",
      async handle(requests, send, { signal }) {
        const service = await readRequest(requests);
        const watcher: Watcher = { service, wake: undefined };
        watchers.add(watcher);
        signal.addEventListener("abort", () => watcher.wake?.());
        try {
          await watch(watcher, statuses, send, signal);
        } finally {
          watchers.delete(watcher);
        }
      },
    },
  };
  const tell = (service: string) => {
    for (const watcher of watchers) if (watcher.service === service) watcher.wake?.();
  };
  return {
    lookup: (path) => (Object.hasOwn(methods, path) ? methods[path] : undefined),
    set(service, status) {
      statuses.set(service, status);
      tell(service);
    },
    delete(service) {
      statuses.delete(service);
      tell(service);
    },
  };
}

interface Watcher {
  service: string;
  wake: (() => void) | undefined;
}

/** Sends each status that lasts until the client takes it; quick changes in between are skipped. */
async function watch(
  watcher: Watcher,
  statuses: Map<string, ServingStatus>,
  send: (message: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let sent: number | undefined;
  while (!signal.aborted) {
    const status = statuses.get(watcher.service);
    const code = status === undefined ? servingStatus.SERVICE_UNKNOWN : servingStatus[status];
    if (code !== sent) {
      sent = code;
      await send(encodeStatus(code));
    } else {
      await new Promise<void>((resolve) => {
        watcher.wake = resolve;
      });
      watcher.wake = undefined;
    }
  }
}

function check(statuses: Map<string, ServingStatus>, service: string): Uint8Array {
  const status = statuses.get(service);
  if (status === undefined) throw new GrpcError(grpcCode.NOT_FOUND, "unknown service");
  return encodeStatus(servingStatus[status]);
}

function list(statuses: Map<string, ServingStatus>): Uint8Array {
  if (statuses.size > listMax) {
    throw new GrpcError(
      grpcCode.RESOURCE_EXHAUSTED,
      `server health list exceeds maximum capacity: ${listMax}`,
    );
  }
  const writer = new BinaryWriter();
  for (const [service, status] of statuses) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(service);
    writer.tag(2, WireType.LengthDelimited).bytes(encodeStatus(servingStatus[status]));
    writer.join();
  }
  return writer.finish();
}

function encodeStatus(code: number): Uint8Array {
  return Uint8Array.of(0x08, code);
}

async function readRequest(requests: AsyncIterable<Uint8Array>): Promise<string> {
  for await (const request of requests) return readService(request);
  throw new GrpcError(grpcCode.INVALID_ARGUMENT, "the request message is missing");
}

/** HealthCheckRequest: `string service = 1`. */
function readService(request: Uint8Array): string {
  const reader = new BinaryReader(request);
  let service = "";
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1 && wireType === WireType.LengthDelimited) service = reader.string();
      else reader.skip(wireType, field);
    }
  } catch (cause) {
    throw new GrpcError(grpcCode.INTERNAL, "grpc: error unmarshalling request", { cause });
  }
  return service;
}
