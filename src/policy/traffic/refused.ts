import { Code, errors, httpStatusOf } from "../../errors.ts";
import type { GivenAnswer } from "../use/layer.ts";

/** A block of a TrafficPolicy answers in the place of the target. Says nothing of the target's health. */
export class Refused extends Error {
  readonly given: GivenAnswer;

  constructor(given: GivenAnswer) {
    super(given.fault.message);
    this.name = "Refused";
    this.given = given;
  }
}

export interface Refusal {
  why: string;
  http?: number;
  grpc?: number | undefined;
  headers?: readonly string[];
  body?: string;
}

/** Of a status of one protocol the other's follows. */
export function refusal({ why, http, grpc, headers, body }: Refusal): GivenAnswer {
  const code = (grpc ?? grpcCodeOf(http ?? 503)) as Code;
  const fault = errors.POLICY(why, { http: http ?? httpStatusOf(code), grpc: code });
  return { fault, ...(headers && { headers }), ...(body !== undefined && { body }) };
}

/** As Envoy answers gRPC calls itself: https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html */
const codeByStatus: Readonly<Record<number, Code>> = {
  400: Code.Internal,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.Unimplemented,
  429: Code.Unavailable,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

function grpcCodeOf(status: number): Code {
  return codeByStatus[status] ?? Code.Unknown;
}
