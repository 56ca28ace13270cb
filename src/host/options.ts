import type { ExternalCredentials } from "../control/identity/sources.ts";
import type { LogLevel } from "../telemetry/log.ts";

/** Everything one app's runtime is started with: what daprd's flags and environment say (dapr-api.md §1). */
export type MovablePort = "httpPort" | "grpcPort" | "metricsPort";

export interface RuntimeOptions {
  appId: string;
  namespace: string;
  /** 0: no app. */
  appPort: number;
  appProtocol: "http" | "https" | "h2c" | "grpc" | "grpcs";
  appChannelAddress: string;
  /** -1: unlimited. */
  appMaxConcurrency: number;
  appHealth: AppHealthOptions | undefined;
  /** 0: chosen by the system. */
  httpPort: number;
  grpcPort: number;
  /** 0: derived from the app id, or chosen when that one is taken. */
  internalGrpcPort: number;
  internalGrpcListenAddress: string;
  listenAddresses: string[];
  publicPort: number | undefined;
  publicListenAddress: string;
  maxBodyBytes: number;
  readBufferBytes: number;
  unixDomainSocket: string;
  disableInitEndpoints: string[];
  resourcesPaths: string[];
  configPaths: string[];
  placementHostAddresses: string[];
  schedulerHostAddresses: string[];
  allowedOrigins: string;
  /** Names besides its own by which the API without token may be called. */
  allowedHosts: string[];
  gracefulShutdownSeconds: number;
  blockShutdownMs: number | undefined;
  reconcileIntervalMs: number;
  /** `undefined`: the Configuration decides. */
  enableApiLogging: boolean | undefined;
  logLevel: LogLevel;
  logAsJson: boolean;
  /** Off by default, unlike daprd: it tells anybody who can connect what there is. */
  enableGrpcReflection: boolean;
  enableMetrics: boolean;
  metricsPort: number;
  /** Those that nobody asked for: when such a port is taken, another one does. */
  movablePorts: readonly MovablePort[];
  metricsListenAddress: string;
  /** `--enable-mtls`; absent: the Configuration decides. */
  enableMtls: boolean | undefined;
  /** Certificates of somebody else's authority: PEM files that may change, or texts. */
  certificates: ExternalCredentials | undefined;
  /** `mecha daprd`: no extensions, no implicit components. */
  isStrict: boolean;
  /** API calls of this app at once, and how many may wait; absent: no limit. */
  apiLimit: { callsMax: number; queueMax: number } | undefined;
  apiToken: string | undefined;
  appToken: string | undefined;
  /** Files of such tokens, one a line, that may change. */
  apiTokenFile: string | undefined;
  appTokenFile: string | undefined;
  /** What runtimes prove themselves with that share no registry, or a file of such, one a line. */
  peerToken: string | undefined;
  peerTokenFile: string | undefined;
  /** What tells instances of the app apart, by which routes choose: `version` and others. */
  labels: Record<string, string>;
  /** What the metadata API shows of the launcher. */
  extendedMetadata: Record<string, string>;
}

export interface AppHealthOptions {
  path: string;
  probeIntervalMs: number;
  probeTimeoutMs: number;
  threshold: number;
}

/** daprd's defaults. */
export const runtimeDefaults: RuntimeOptions = {
  appId: "",
  namespace: "",
  labels: {},
  appPort: 0,
  appProtocol: "http",
  appChannelAddress: "127.0.0.1",
  appMaxConcurrency: -1,
  appHealth: undefined,
  httpPort: 3500,
  grpcPort: 50001,
  internalGrpcPort: 0,
  internalGrpcListenAddress: "",
  listenAddresses: [],
  publicPort: undefined,
  publicListenAddress: "",
  maxBodyBytes: 4 << 20,
  readBufferBytes: 4 << 10,
  unixDomainSocket: "",
  disableInitEndpoints: [],
  resourcesPaths: [],
  configPaths: [],
  placementHostAddresses: [],
  schedulerHostAddresses: [],
  allowedOrigins: "",
  allowedHosts: [],
  gracefulShutdownSeconds: 5,
  blockShutdownMs: undefined,
  reconcileIntervalMs: 60_000,
  enableApiLogging: undefined,
  logLevel: "info",
  logAsJson: false,
  enableGrpcReflection: false,
  enableMetrics: true,
  metricsPort: 9090,
  movablePorts: [],
  metricsListenAddress: "0.0.0.0",
  enableMtls: undefined,
  certificates: undefined,
  isStrict: false,
  apiLimit: undefined,
  apiToken: undefined,
  appToken: undefined,
  apiTokenFile: undefined,
  appTokenFile: undefined,
  peerToken: undefined,
  peerTokenFile: undefined,
  extendedMetadata: {},
};
