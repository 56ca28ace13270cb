import type { TrafficPolicySpec } from "../../resource/traffic.ts";

/** What a caller's policies say of the instances of one app. */
export type BalancingPolicy = Pick<
  TrafficPolicySpec,
  "loadBalancer" | "connectionPool" | "outlierDetection" | "healthCheck"
>;

/** An instance as the metadata API shows it. */
export interface UpstreamStatus {
  app: string;
  instance: string;
  address: string;
  locality: string;
  health: "healthy" | "ejected" | "probing" | "failing";
  active: number;
  calls: number;
  /** From 0 to 1; below while it warms up. */
  weight: number;
  timesEjected: number;
  ejectedForMs?: number;
  rttMs?: number;
}
