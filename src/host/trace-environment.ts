import type { Configuration } from "../resource/resource.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type Tracing = Configuration["tracing"];

const timeoutDefaultMs = 10_000;

/**
 * What OpenTelemetry's environment variables say, where the Configuration names no OTLP endpoint, as daprd has it.
 * Those for traces alone go before those for all signals.
 */
export function withTraceEnvironment(tracing: Tracing, env: Environment): Tracing {
  const endpoint = tracing.otel === undefined ? otlpVariable(env, "ENDPOINT") : "";
  const samplingRate = tracing.isRateGiven
    ? tracing.samplingRate
    : (samplerRate(env) ?? (endpoint === "" ? tracing.samplingRate : 1));
  if (env.OTEL_SDK_DISABLED === "true" && tracing.otel === undefined) return { ...tracing, samplingRate };
  if (endpoint === "") return { ...tracing, samplingRate };
  const timeoutMs = Number(otlpVariable(env, "TIMEOUT"));
  const isHttp = otlpVariable(env, "PROTOCOL").startsWith("http");
  return {
    ...tracing,
    samplingRate,
    otel: {
      endpointAddress: endpoint.replace(/^https?:\/\//, ""),
      isSecure: !endpoint.startsWith("http://") && otlpVariable(env, "INSECURE").toLowerCase() !== "true",
      protocol: isHttp ? "http" : "grpc",
      headers: pairsOf(otlpVariable(env, "HEADERS")),
      timeoutMs: timeoutMs > 0 ? timeoutMs : timeoutDefaultMs,
    },
  };
}

/** Name and attributes of the service: the app's, unless the environment says otherwise. */
export function resourceOf(
  appId: string,
  env: Environment,
): { serviceName: string; attributes: Record<string, string> } {
  const { "service.name": named, ...attributes } = pairsOf(env.OTEL_RESOURCE_ATTRIBUTES ?? "");
  return { serviceName: env.OTEL_SERVICE_NAME || named || appId, attributes };
}

function otlpVariable(env: Environment, name: string): string {
  return env[`OTEL_EXPORTER_OTLP_TRACES_${name}`] || env[`OTEL_EXPORTER_OTLP_${name}`] || "";
}

/** The samplers are all parent-based here. */
function samplerRate(env: Environment): number | undefined {
  const sampler = (env.OTEL_TRACES_SAMPLER ?? "").replace(/^parentbased_/, "");
  if (sampler === "always_on") return 1;
  if (sampler === "always_off") return 0;
  const rate = Number(env.OTEL_TRACES_SAMPLER_ARG ?? "1");
  return sampler === "traceidratio" && rate >= 0 && rate <= 1 ? rate : undefined;
}

/** `a=1,b=2`, percent-encoded. */
function pairsOf(text: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at > 0) pairs[part.slice(0, at).trim()] = decoded(part.slice(at + 1).trim());
  }
  return pairs;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
