import { hostname } from "node:os";
import type { HttpHandler } from "../net/http1/index.ts";
import type { Metrics } from "../telemetry/telemetry.ts";
import { createRequestGuard, isLoopback, type RequestGuard } from "../transport/http/request-guard.ts";
import type { RuntimeOptions } from "./options.ts";

/** What the API listens on; daprd's default is every address. */
export function apiAddresses({ listenAddresses }: RuntimeOptions): readonly string[] {
  return listenAddresses.length > 0 ? listenAddresses : ["::"];
}

/** The guard of a port against web pages; none on a Unix socket, which browsers do not reach. */
export function guardOf(options: RuntimeOptions, addresses: readonly string[]): RequestGuard | undefined {
  const { unixDomainSocket, allowedHosts, allowedOrigins } = options;
  if (unixDomainSocket !== "") return undefined;
  return createRequestGuard({ addresses, machine: hostname(), allowedHosts, allowedOrigins });
}

/** Serves the metrics, and nothing else. */
export function metricsHandler(options: RuntimeOptions, address: string, metrics: Metrics): HttpHandler {
  // A scraper of another machine may know this one by any name.
  const guard = isLoopback(address) ? guardOf({ ...options, unixDomainSocket: "" }, [address]) : undefined;
  return (request) => {
    if (guard?.(request)) return { status: 403, headers: [] };
    const isMetrics = request.method === "GET" && (request.target === "/metrics" || request.target === "/");
    if (!isMetrics) return { status: 404, headers: [] };
    const headers = ["Content-Type", "text/plain; version=0.0.4; charset=utf-8"];
    return { status: 200, headers, body: metrics.text() };
  };
}
