import type { SpanContext } from "./telemetry.ts";

/** Parses a W3C `traceparent` (https://www.w3.org/TR/trace-context/); `undefined` when it is not valid. */
export function parseTraceparent(header: string | undefined, traceState = ""): SpanContext | undefined {
  if (header === undefined || header.length < 55) return undefined;
  if (header.charCodeAt(2) !== 45 || header.charCodeAt(35) !== 45 || header.charCodeAt(52) !== 45)
    return undefined;
  if (!isHex(header, 0, 2) || !isHex(header, 3, 35) || !isHex(header, 36, 52) || !isHex(header, 53, 55))
    return undefined;
  if (header.startsWith("ff") || (header.length !== 55 && header.startsWith("00"))) return undefined;
  const traceId = header.slice(3, 35);
  const spanId = header.slice(36, 52);
  if (traceId === "00000000000000000000000000000000" || spanId === "0000000000000000") return undefined;
  const flags = header.slice(53, 55);
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1, traceState };
}

export function formatTraceparent(context: SpanContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? "01" : "00"}`;
}

/** Parses OpenCensus' binary form, the `grpc-trace-bin` metadata: version, then fields 0 (trace), 1 (span), 2 (flags). */
export function parseTraceBinary(base64: string | undefined): SpanContext | undefined {
  if (base64 === undefined) return undefined;
  const bytes = Buffer.from(base64, "base64");
  if (bytes.length < 29 || bytes[0] !== 0 || bytes[1] !== 0 || bytes[18] !== 1 || bytes[27] !== 2)
    return undefined;
  const traceId = bytes.toString("hex", 2, 18);
  const spanId = bytes.toString("hex", 19, 27);
  return { traceId, spanId, sampled: ((bytes[28] ?? 0) & 1) === 1, traceState: "" };
}

export function formatTraceBinary(context: SpanContext): string {
  const bytes = Buffer.alloc(29);
  bytes.write(context.traceId, 2, "hex");
  bytes[18] = 1;
  bytes.write(context.spanId, 19, "hex");
  bytes[27] = 2;
  bytes[28] = context.sampled ? 1 : 0;
  return bytes.toString("base64").replace(/=+$/, "");
}

/** The caller's context in HTTP headers. */
export function extractContext(header: (lowerName: string) => string | undefined): SpanContext | undefined {
  const parent = header("traceparent");
  return parent === undefined ? undefined : parseTraceparent(parent, header("tracestate") ?? "");
}

/** The caller's context in gRPC metadata: `grpc-trace-bin` goes first there (dapr-api.md §16.2). */
export function extractGrpcContext(get: (lowerName: string) => string | undefined): SpanContext | undefined {
  const binary = get("grpc-trace-bin");
  const parent = binary === undefined ? undefined : parseTraceBinary(binary);
  if (parent === undefined) return extractContext(get);
  // The binary form has no place for the state: it is the same trace's when the text form names that trace.
  const traceState = get("tracestate") ?? "";
  const isSame = traceState !== "" && get("traceparent")?.slice(3, 35) === parent.traceId;
  return isSame ? { ...parent, traceState } : parent;
}

function isHex(text: string, from: number, to: number): boolean {
  for (let index = from; index < to; index++) {
    const code = text.charCodeAt(index);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return false;
  }
  return true;
}

const pool = Buffer.alloc(8192);
let poolUsed = pool.length;

/** Random hex digits from a refilled pool: `randomBytes` per id would cost 3 µs. */
export function randomHex(bytes: number): string {
  if (poolUsed + bytes > pool.length) {
    crypto.getRandomValues(pool);
    poolUsed = 0;
  }
  const text = pool.toString("hex", poolUsed, poolUsed + bytes);
  poolUsed += bytes;
  return text;
}
