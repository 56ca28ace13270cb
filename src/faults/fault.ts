/** gRPC status codes by their names (google.rpc.Code). */
export const Code = {
  Ok: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

const httpByCode: readonly number[] = [
  200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** Dapr's mapping of gRPC codes to HTTP statuses (dapr-api.md §2). */
export function httpStatusOf(code: number): number {
  return httpByCode[code] ?? 500;
}

export interface FaultOptions {
  cause?: unknown;
  /** What to do about it; logged, and shown by the CLI, never part of the wire text. */
  hint?: string;
  /** ErrorInfo metadata of a rich error. */
  metadata?: Record<string, string>;
  /** ResourceInfo of a rich error. */
  resource?: { type: string; name: string };
  /** Overrides the HTTP and gRPC status of the table's row (etag mismatch and the like). */
  http?: number;
  grpc?: Code;
  help?: { url: string; description: string };
  violations?: { field: string; description: string }[];
  /** Header lines of the answer, metadata over gRPC. */
  headers?: readonly string[];
}

export interface Row {
  /** The HTTP `errorCode`. */
  code: string;
  /** The reason in google.rpc.ErrorInfo; a rich error is one whose reason differs from its code. */
  reason: string;
  http: number;
  grpc: Code;
}

/** The one error class of the API surface: a code of the table below, mapped to both protocols in one place each. */
export class Fault extends Error {
  readonly code: string;
  readonly reason: string;
  readonly http: number;
  readonly grpc: Code;
  readonly hint: string | undefined;
  readonly options: FaultOptions;

  constructor(row: Row, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Fault";
    this.code = row.code;
    this.reason = row.reason;
    this.http = options.http ?? row.http;
    this.grpc = options.grpc ?? row.grpc;
    this.hint = options.hint;
    this.options = options;
  }

  /** Rich errors carry details over HTTP too. */
  get rich(): boolean {
    return this.reason !== this.code || this.reason.startsWith("DAPR_");
  }

  /** Normalises anything caught at an edge: transports and engine loops only. */
  static from(error: unknown): Fault {
    if (error instanceof Fault) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new Fault({ code: "ERROR", reason: "ERROR", http: 500, grpc: Code.Internal }, message, {
      cause: error,
    });
  }
}

type Make<A extends unknown[]> = ((...args: [...A, options?: FaultOptions]) => Fault) & Row;

/** One row of the table. `parts` are the arguments of the message template. */
export function fault<A extends string[]>(
  code: string,
  http: number,
  grpc: Code,
  message: (...parts: A) => string,
  reason = code,
): Make<A> {
  const row: Row = { code, reason, http, grpc };
  const make = (...args: unknown[]): Fault => {
    const last = args.at(-1);
    const options = typeof last === "object" && last !== null ? (args.pop() as FaultOptions) : undefined;
    return new Fault(row, message(...(args as A)), options);
  };
  return Object.assign(make, row);
}
