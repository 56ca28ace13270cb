import type { AppChannel, AppHttpRequest, AppHttpResponse } from "../../app/channel.ts";
import type { GrpcClient } from "../../net/grpc/types.ts";

export interface StubAnswer {
  status: number;
  body?: string;
}

export type SeenRequest = AppHttpRequest & { text: string };

/** An app channel answered by a function. */
export interface StubApp extends AppChannel {
  readonly seen: SeenRequest[];
  setHealth(isHealthy: boolean): void;
}

export function httpApp(answer: (request: SeenRequest) => StubAnswer | Promise<StubAnswer>): StubApp {
  const seen: SeenRequest[] = [];
  return {
    ...channelBase("http"),
    seen,
    grpc: undefined,
    async http(request) {
      const text = Buffer.from((request.body as Uint8Array | undefined) ?? []).toString("utf8");
      const recorded = { ...request, text };
      seen.push(recorded);
      const { status, body = "" } = await untilCancelled(Promise.resolve(answer(recorded)), request);
      return response(status, Buffer.from(body));
    },
  };
}

export type UnaryAnswer = (
  path: string,
  request: Uint8Array,
  metadata: [string, string][],
) => Uint8Array | Promise<Uint8Array>;

export function grpcApp(answer: UnaryAnswer): StubApp {
  const grpc: GrpcClient = {
    unary: async (path, request, options) => answer(path, request, options?.metadata ?? []),
    stream: () => {
      throw new Error("no streams here");
    },
    open: () => Promise.reject(new Error("no bare streams here")),
    close: () => {},
  };
  return {
    ...channelBase("grpc"),
    seen: [],
    grpc,
    http: () => Promise.reject(new Error("not an HTTP app")),
  };
}

function channelBase(protocol: "http" | "grpc") {
  const listeners = new Set<(isHealthy: boolean) => void>();
  return {
    protocol,
    isHealthy: true,
    setHealth(isHealthy: boolean) {
      this.isHealthy = isHealthy;
      for (const listener of listeners) listener(isHealthy);
    },
    onHealthChange(listener: (isHealthy: boolean) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    grpcMetadata: (): [string, string][] => [["dapr-api-token", "secret"]],
    withSlot: <T>(work: () => Promise<T>) => work(),
    waitUntilReachable: async () => {},
    close: async () => {},
  };
}

function response(status: number, bytes: Uint8Array): AppHttpResponse {
  return {
    status,
    reason: "",
    rawHeaders: [],
    header: () => undefined,
    body: {
      size: bytes.length,
      bytes: () => bytes,
      async *[Symbol.asyncIterator]() {
        yield bytes;
      },
    },
  };
}

/** As the channel has it: the cancellation counts when there is one, else the signal. */
function untilCancelled<T>(work: Promise<T>, { signal, cancellation }: AppHttpRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new Error("aborted"));
    if (cancellation?.isCancelled ?? signal?.aborted) return abort();
    if (cancellation) cancellation.listen(abort);
    else signal?.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => cancellation?.listen(undefined));
  });
}
