import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { realSockets, type Sockets } from "../../edges/sockets.ts";
import type { HttpClient } from "../../net/http1/types.ts";
import { type AppName, identityLines } from "../identity.ts";
import type { Instance } from "../instance.ts";
import { appField, peerFields } from "../peer-link.ts";
import type { PeerLinks } from "../peer-links.ts";
import { addressTo, type PeerSecurity } from "../security.ts";
import type { Probe } from "./health-checks.ts";

export interface ProbeOptions {
  principal: AppName;
  httpClient: HttpClient;
  links: PeerLinks;
  sockets: Sockets | undefined;
  security: PeerSecurity | undefined;
}

const bodyBytesMax = 64 << 10;
const serving = 1;

/**
 * Checks go where calls go: to the instance's mecha, and by it to the app. So a check says whether a call would get
 * through, and the access policy of the app holds for it. `tcp` says that the mecha is there.
 */
export function createProbe(options: ProbeOptions): Probe {
  return async (instance, spec, signal) => {
    if (spec.kind === "http") return isGoodHttp(instance, spec.path, signal, options);
    if (spec.kind === "grpc") return isServing(instance, spec.service, signal, options);
    return isReached(instance, signal, options.sockets ?? realSockets);
  };
}

async function isGoodHttp(
  instance: Instance,
  path: string,
  signal: AbortSignal,
  { principal, httpClient, security }: ProbeOptions,
): Promise<boolean> {
  const response = await httpClient.request(addressTo(instance, security), {
    method: "GET",
    target: path,
    headers: lines(instance, principal),
    signal,
  });
  await response.body.bytes(bodyBytesMax);
  return response.status >= 200 && response.status < 300 && !response.header(peerFields.errorCode);
}

async function isServing(
  instance: Instance,
  service: string,
  signal: AbortSignal,
  { principal, links }: ProbeOptions,
): Promise<boolean> {
  const request = service === "" ? new Uint8Array(0) : new BinaryWriter().tag(1, 2).string(service).finish();
  const flat = lines(instance, principal);
  const metadata: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    metadata.push([(flat[i] as string).toLowerCase(), flat[i + 1] as string]);
  const path = "/grpc.health.v1.Health/Check";
  return statusIn(await links.unary(instance, { path, request, options: { metadata, signal } })) === serving;
}

/** HealthCheckResponse: `ServingStatus status = 1`. */
function statusIn(response: Uint8Array): number {
  const reader = new BinaryReader(response);
  let status = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.Varint) status = reader.int32();
    else reader.skip(wireType, field);
  }
  return status;
}

function isReached({ host, port }: Instance, signal: AbortSignal, sockets: Sockets): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = sockets.connect({ host, port }, {});
    const settle = (isGood: boolean): void => {
      signal.removeEventListener("abort", give);
      socket.destroy();
      resolve(isGood);
    };
    const give = (): void => settle(false);
    signal.addEventListener("abort", give, { once: true });
    socket.on("error", give);
    socket.once("connect", () => settle(true));
  });
}

function lines(instance: Instance, principal: AppName): string[] {
  const identity = identityLines(principal, instance.appId);
  return [...identity, peerFields.app, appField(instance), peerFields.token, instance.token];
}
