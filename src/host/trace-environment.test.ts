import { expect, test } from "bun:test";
import { resourceOf, withTraceEnvironment } from "./trace-environment.ts";

const unset = { samplingRate: 0.0001, stdout: false };

test("withTraceEnvironment() takes an OTLP endpoint and samples everything then", () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318",
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/protobuf",
    OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=a%20b, x-key = k",
    OTEL_EXPORTER_OTLP_TIMEOUT: "2500",
  };
  expect(withTraceEnvironment(unset, env)).toEqual({
    ...unset,
    samplingRate: 1,
    otel: {
      endpointAddress: "collector:4318",
      isSecure: false,
      protocol: "http",
      headers: { "x-tenant": "a b", "x-key": "k" },
      timeoutMs: 2500,
    },
  });
});

test("withTraceEnvironment() is secure and gRPC unless told otherwise", () => {
  const otel = (env: Record<string, string>) =>
    withTraceEnvironment(unset, { OTEL_EXPORTER_OTLP_ENDPOINT: "c:4317", ...env }).otel;
  expect(otel({})).toMatchObject({ isSecure: true, protocol: "grpc" });
  expect(otel({ OTEL_EXPORTER_OTLP_INSECURE: "true" })?.isSecure).toBe(false);
  expect(otel({ OTEL_SDK_DISABLED: "true" })).toBeUndefined();
});

test("withTraceEnvironment() leaves what the Configuration says", () => {
  const otel = {
    endpointAddress: "mine:1",
    isSecure: true,
    protocol: "grpc",
    headers: {},
    timeoutMs: 1,
  } as const;
  const given = { ...unset, samplingRate: 0.5, isRateGiven: true as const, otel };
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "other:1", OTEL_TRACES_SAMPLER: "always_off" };
  expect(withTraceEnvironment(given, env)).toEqual(given);
});

test.each([
  ["always_on", undefined, 1],
  ["parentbased_always_off", undefined, 0],
  ["parentbased_traceidratio", "0.25", 0.25],
  ["traceidratio", "7", 0.0001],
  ["no such sampler", undefined, 0.0001],
])("withTraceEnvironment() reads the sampler %s %s", (sampler, arg, rate) => {
  const env = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg };
  expect(withTraceEnvironment(unset, env).samplingRate).toBe(rate);
});

test("resourceOf() names the service after the app unless the environment says otherwise", () => {
  expect(resourceOf("shop", {})).toEqual({ serviceName: "shop", attributes: {} });
  const env = { OTEL_RESOURCE_ATTRIBUTES: "service.name=a,deployment.environment=blue" };
  expect(resourceOf("shop", env)).toEqual({
    serviceName: "a",
    attributes: { "deployment.environment": "blue" },
  });
  expect(resourceOf("shop", { ...env, OTEL_SERVICE_NAME: "b" }).serviceName).toBe("b");
});
