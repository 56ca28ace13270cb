/** The status codes of gRPC, by name. */
export const grpcCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcCodeName = keyof typeof grpcCode;

const names = Object.keys(grpcCode) as GrpcCodeName[];
const goNames = [
  "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied",
  "ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss",
  "Unauthenticated",
]
  .join(" ")
  .split(" ");

/** `14` → `UNAVAILABLE`; a number outside the table is named `UNKNOWN`. */
export function grpcCodeName(code: number): GrpcCodeName {
  return names[code] ?? "UNKNOWN";
}

/** `14` → `Unavailable`, as grpc-go prints it in logs, metrics and resiliency rules. */
export function grpcCodeGoName(code: number): string {
  return goNames[code] ?? `Code(${code})`;
}

/** The code an answer without grpc-status stands for (doc/http-grpc-status-mapping.md of gRPC). */
export function grpcCodeOfHttpStatus(status: number): number {
  if (status === 400) return grpcCode.INTERNAL;
  if (status === 401) return grpcCode.UNAUTHENTICATED;
  if (status === 403) return grpcCode.PERMISSION_DENIED;
  if (status === 404) return grpcCode.UNIMPLEMENTED;
  if (status === 429 || status === 502 || status === 503 || status === 504) return grpcCode.UNAVAILABLE;
  return grpcCode.UNKNOWN;
}

/** The code a stream reset by the peer stands for (PROTOCOL-HTTP2.md of gRPC, "Errors"). */
export function grpcCodeOfReset(http2Code: number): number {
  if (http2Code === 7) return grpcCode.UNAVAILABLE;
  if (http2Code === 8) return grpcCode.CANCELLED;
  if (http2Code === 11) return grpcCode.RESOURCE_EXHAUSTED;
  if (http2Code === 12) return grpcCode.PERMISSION_DENIED;
  return grpcCode.INTERNAL;
}

/** Percent-encodes what grpc-message may not carry: bytes outside printable ASCII, and the percent sign. */
export function encodeGrpcMessage(message: string): string {
  if (/^[ -$&-~]*$/.test(message)) return message;
  let encoded = "";
  for (const byte of Buffer.from(message, "utf8")) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/** Never fails: a malformed escape stays as it is, as the gRPC specification asks. */
export function decodeGrpcMessage(encoded: string): string {
  if (!encoded.includes("%")) return encoded;
  const bytes: number[] = [];
  for (let i = 0; i < encoded.length; i++) {
    const hex = encoded.slice(i + 1, i + 3);
    if (encoded[i] === "%" && /^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(encoded.charCodeAt(i) & 0xff);
  }
  return Buffer.from(bytes).toString("utf8");
}
