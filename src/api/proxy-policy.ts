import { Code } from "../errors.ts";
import { signalOf } from "../kit/cancellation.ts";
import { GrpcError, metadataOfLines, type ProxyPolicy, type ProxyRun } from "../net/grpc/types.ts";
import { BreakerOpen } from "../policy/resilience/breaker.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import { AttemptTimeout, type ResiliencePolicy } from "../policy/resilience/policy.ts";
import type { GivenAnswer } from "../policy/use/layer.ts";
import { type PlacedLayers, runPlaced } from "../policy/use/use-policies.ts";
import { codeOfError } from "./http-shape.ts";

/** What stands at a place, as the proxy of gRPC calls takes it; `undefined`: nothing does. */
export function proxyPolicyOf(
  { placed, resilience }: { placed: PlacedLayers | undefined; resilience: ResiliencePolicy | undefined },
  path: string,
): ProxyPolicy | undefined {
  if (resilience === undefined && placed === undefined) return undefined;
  return {
    hasRetries: (resilience?.hasRetries || placed?.repeats) ?? false,
    run<T>(
      attempt: (signal: AbortSignal | undefined) => Promise<T>,
      { signal, get = noHeader, tries, ...run }: ProxyRun<T>,
    ) {
      const shape = { ...shapeOf(run), signal };
      const use = { operation: "POST", names: [path], header: get, tries };
      const work = runPlaced(
        { resilience, placed },
        use,
        (ended) => attempt(signalOf(ended) ?? signal),
        shape,
      );
      return work.catch((error) => {
        throw asStatus(error);
      });
    },
  };
}

function shapeOf<T>({ isRepeatable, codeOf }: Pick<ProxyRun<T>, "isRepeatable" | "codeOf">) {
  return {
    ...{ isRepeatable, canOverlap: false },
    codeOf(result: T): FailureCode | undefined {
      const grpc = codeOf(result);
      return grpc === Code.Ok ? undefined : { grpc };
    },
    codeOfError,
    // A caller that has left says nothing of the target.
    isPermanent: (error: unknown) => error instanceof GrpcError && error.code === Code.Canceled,
    answer({ fault, headers }: GivenAnswer): never {
      throw new GrpcError(fault.grpc, fault.message, { cause: fault, metadata: metadataOfLines(headers) });
    },
  };
}

function noHeader(): undefined {
  return undefined;
}

function asStatus(error: unknown): unknown {
  if (error instanceof AttemptTimeout) return new GrpcError(Code.DeadlineExceeded, error.message);
  return error instanceof BreakerOpen ? new GrpcError(Code.Unavailable, error.message) : error;
}
