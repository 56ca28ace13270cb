import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../net/grpc/client.ts";
import type { GrpcClient } from "../net/grpc/types.ts";
import type { RawHeaders } from "../net/http1/types.ts";
import type { BodyStart, InboundCall } from "../peer/local-targets.ts";
import type { ExternalProvider } from "../resource/authorization.ts";
import type { Log } from "../telemetry/telemetry.ts";
import {
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
} from "../wire/envoy/service/auth/v3/external_auth_pb.js";
import {
  addressOf,
  checkedBody,
  chosen,
  type ExternalAuthorization,
  type Permission,
  partialHeader,
  refusal,
} from "./external-authorization.ts";

const method = "/envoy.service.auth.v3.Authorization/Check";
const any = (): boolean => true;

/** Asks an authorization server by Envoy's gRPC service. It gets all headers, and the body where that is wanted. */
export class GrpcAuthorization implements ExternalAuthorization {
  readonly #provider: ExternalProvider;
  readonly #log: Log;
  readonly #client: GrpcClient;

  constructor(provider: ExternalProvider, { log }: { log: Log }) {
    this.#provider = provider;
    this.#log = log;
    const { host, port, tls } = addressOf(provider);
    this.#client = createGrpcClient({ host, port }, { tls });
  }

  async ask(call: InboundCall, said: { principal: string; callee: string }): Promise<Permission> {
    const { timeoutMs, failOpen, statusOnError, name } = this.#provider;
    const start = await checkedBody(call, this.#provider);
    let answer: CheckResponse;
    try {
      const request = toBinary(CheckRequestSchema, checkRequest(call, said, this.#bodyFields(start)));
      answer = fromBinary(CheckResponseSchema, await this.#client.unary(method, request, { timeoutMs }));
    } catch (error) {
      this.#log.warn({ error, provider: name }, "authorization: the external server could not be asked");
      if (failOpen) return { remove: new Set(), add: [] };
      throw refusal({ status: statusOnError, headers: [] });
    }
    return permissionOf(answer);
  }

  #bodyFields(start: BodyStart | undefined): BodyFields {
    if (start === undefined) return { size: -1n };
    const { bytes, isWhole } = start;
    const size = isWhole ? BigInt(bytes.byteLength) : -1n;
    const headers = { [partialHeader]: String(!isWhole) };
    if (this.#provider.requestBody?.isBytes) return { size, headers, rawBody: Uint8Array.from(bytes) };
    return { size, headers, body: Buffer.from(bytes).toString("utf8") };
  }

  close(): void {
    this.#client.close();
  }
}

/** Text is UTF-8: what is none has the sign of that in its place. */
interface BodyFields {
  size: bigint;
  headers?: Record<string, string>;
  body?: string;
  rawBody?: Uint8Array<ArrayBuffer>;
}

function checkRequest(
  call: InboundCall,
  { principal, callee }: { principal: string; callee: string },
  { headers, ...body }: BodyFields,
) {
  const { form, operation, query, verb, address } = call;
  const path = query === "" ? operation : `${operation}?${query}`;
  const source = address === "" ? undefined : { case: "socketAddress" as const, value: { address } };
  return create(CheckRequestSchema, {
    attributes: {
      source: { principal, ...(source && { address: { address: source } }) },
      destination: { principal: callee },
      request: {
        time: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 },
        http: {
          method: form === "grpc" || verb === "" || verb === "NONE" ? "POST" : verb,
          headers: { ...headersOf(call.lines()), ...headers },
          ...{ path, host: callee.split("/").at(-1) ?? "", scheme: "http", ...body },
          protocol: form === "http" ? "HTTP/1.1" : "HTTP/2",
        },
      },
    },
  });
}

/** By lower-case name, several lines joined by a comma, as Envoy has them. */
function headersOf(lines: RawHeaders): Record<string, string> {
  const headers = new Map<string, string>();
  const passed = chosen(lines, any);
  for (let i = 0; i + 1 < passed.length; i += 2) {
    const name = (passed[i] as string).toLowerCase();
    const before = headers.get(name);
    headers.set(name, before === undefined ? (passed[i + 1] as string) : `${before},${passed[i + 1]}`);
  }
  return Object.fromEntries(headers);
}

type Options = { header?: { key: string; value: string; rawValue: Uint8Array } | undefined }[];

function permissionOf({ status, httpResponse }: CheckResponse): Permission {
  if ((status?.code ?? 0) !== 0 || httpResponse.case === "deniedResponse") {
    const denied = httpResponse.case === "deniedResponse" ? httpResponse.value : undefined;
    const code = denied?.status?.code ?? 0;
    throw refusal({
      status: code >= 400 && code <= 599 ? code : 403,
      headers: linesOf(denied?.headers ?? []),
      body: denied?.body ?? "",
    });
  }
  if (httpResponse.case !== "okResponse") return { remove: new Set(), add: [] };
  const { headers, headersToRemove } = httpResponse.value;
  const replaced = headers.filter(({ append }) => append !== true);
  const remove = [...headersToRemove, ...replaced.map(({ header }) => header?.key ?? "")];
  // What tells apps who calls is not the server's to take away.
  const mayGo = remove.map((name) => name.toLowerCase()).filter((name) => !/^(dapr|mecha)-/.test(name));
  return { remove: new Set(mayGo), add: linesOf(headers) };
}

/** A line break is no part of a header, whoever writes it. */
function linesOf(options: Options): RawHeaders {
  const lines = options.flatMap(({ header }) => {
    const value = header?.value || Buffer.from(header?.rawValue ?? []).toString("latin1");
    const isFine = header !== undefined && /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(header.key);
    return isFine && /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? [header.key, value] : [];
  });
  return chosen(lines, any);
}
