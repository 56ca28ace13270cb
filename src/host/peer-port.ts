import { randomBytes } from "node:crypto";
import { createPeerHandlers } from "../peer/server.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import type { PeerAddress } from "./actors.ts";
import { announcedAddress, networkAddress } from "./announced-address.ts";
import type { Host } from "./host.ts";
import type { Listener, ListenerOptions } from "./listeners.ts";
import type { MutualTls } from "./mutual-tls.ts";
import type { Names } from "./name-resolution.ts";
import type { RuntimeOptions } from "./options.ts";
import { internalPortOf, listenNear } from "./ports.ts";
import { principalOf } from "./principal.ts";

export interface PeerPortRequest {
  host: Host;
  options: RuntimeOptions;
  log: Log;
  telemetry: Telemetry;
  security: MutualTls | undefined;
  settings: { maxBodyBytes: number };
  names: Names;
  /** Of the HTTP API. */
  httpPort: number;
  listener(handlers: Pick<ListenerOptions, "http" | "grpc" | "front">): Listener;
}

/** The port other mechas call, and the announcement of it. */
export interface PeerPort {
  readonly address: PeerAddress;
  /** Takes the announcement back; the port stays. */
  withdraw(): Promise<void>;
}

export async function openPeerPort(request: PeerPortRequest): Promise<PeerPort> {
  const { host, options, log, telemetry, security, settings, names } = request;
  const token = randomBytes(24).toString("base64url");
  const outsiders = () => names.outsiders();
  const shared = { token, apps: host.registry.local, settings, telemetry, security, outsiders };
  const { http, grpc } = createPeerHandlers(shared);
  const listener = request.listener({ http, grpc, front: security?.front });
  const isOpen = host.isShared || names.isNetworked;
  const listening = options.internalGrpcListenAddress || (isOpen ? "0.0.0.0" : "127.0.0.1");
  const port = await listen(listener, listening, options);
  log.info({}, `internal gRPC server is running on port ${port}`);
  const address = {
    ...{ host: announcedAddress(listening, host), port, peerToken: token },
    get tls() {
      return security?.tls;
    },
  };
  const principal = principalOf(options);
  const registration = await host.registry.register({
    ...principal,
    instanceId: `${process.pid}-${randomBytes(6).toString("hex")}`,
    ...{ host: address.host, port, token, tls: security?.tls },
    labels: options.labels,
  });
  security?.onChange(() => registration.update({ tls: security.tls }));
  const { appPort } = options;
  const reached = names.isNetworked ? networkAddress(listening, host) : address.host;
  await names.announce({ ...principal, host: reached, port, httpPort: request.httpPort, appPort });
  return {
    address,
    async withdraw() {
      await Promise.all([registration.close(), names.withdraw()]);
    },
  };
}

function listen(
  listener: Listener,
  address: string,
  { internalGrpcPort, appId }: RuntimeOptions,
): Promise<number> {
  if (internalGrpcPort > 0) return listener.listen([address], internalGrpcPort);
  return listenNear(internalPortOf(appId), (port) => listener.listen([address], port));
}
