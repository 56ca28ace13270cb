import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  extractContext,
  extractGrpcContext,
  formatTraceBinary,
  formatTraceparent,
  parseTraceBinary,
  parseTraceparent,
  randomHex,
} from "./propagation.ts";

const context = {
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  sampled: true,
  traceState: "",
};

test("parseTraceparent() reads what formatTraceparent() wrote", () => {
  expect(formatTraceparent(context)).toBe("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
});

test.each([
  "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
  "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
])("parseTraceparent() refuses %s", (header) => {
  expect(parseTraceparent(header)).toBeUndefined();
});

test("parseTraceparent() reads longer headers of later versions", () => {
  expect(parseTraceparent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")).toEqual(context);
});

test("parseTraceBinary() reads what formatTraceBinary() wrote, and nothing else", () => {
  fc.assert(
    fc.property(fc.boolean(), (sampled) => {
      const made = { traceId: randomHex(16), spanId: randomHex(8), sampled, traceState: "" };
      expect(parseTraceBinary(formatTraceBinary(made))).toEqual(made);
    }),
  );
  expect(parseTraceBinary("AAAA")).toBeUndefined();
});

test("extractContext() reads headers, extractGrpcContext() prefers grpc-trace-bin", () => {
  const other = { ...context, traceId: "0af7651916cd43dd8448eb211c80319c" };
  const fields: Record<string, string> = {
    traceparent: formatTraceparent(context),
    tracestate: "a=b",
    "grpc-trace-bin": formatTraceBinary(other),
  };
  const get = (name: string) => fields[name];
  expect(extractContext(get)).toEqual({ ...context, traceState: "a=b" });
  expect(extractGrpcContext(get)).toEqual(other);
  fields["grpc-trace-bin"] = formatTraceBinary(context);
  expect(extractGrpcContext(get)).toEqual({ ...context, traceState: "a=b" });
  fields["grpc-trace-bin"] = "AA";
  expect(extractGrpcContext(get)).toEqual({ ...context, traceState: "a=b" });
  expect(extractGrpcContext(() => undefined)).toBeUndefined();
});
