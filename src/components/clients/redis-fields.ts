import { choice, duration, flag, number, text } from "../../component/fields.ts";

const pool = "commands share one connection, which is kept";
const sentinel = "Redis Sentinel is not supported yet";
const token = "only user names and passwords are supported";
const waits = { bareUnitMs: 1, min: 1, max: 600_000 };

/** What every component on Redis takes: Dapr's names. */
export const redisFields = {
  redisHost: text({ description: "host:port of the server", required: true }),
  redisPort: number({ description: "port, when redisHost has none", min: 1, max: 65_535 }),
  redisUsername: text({ description: "user of the server's access list" }),
  redisPassword: text({ description: "password", sensitive: true }),
  redisDB: number({ description: "number of the database", default: 0, min: 0, aliases: ["databaseIndex"] }),
  redisType: choice(["node"], { description: "node: one server; a cluster is not supported yet" }),
  enableTLS: flag({ description: "encrypt, and check the server's certificate", default: false }),
  insecureSkipTLSVerify: flag({ description: "do not check the server's certificate", default: false }),
  clientCert: text({ description: "certificate of the client in PEM" }),
  clientKey: text({ description: "its key in PEM", sensitive: true }),
  redisMaxRetries: number({
    description: "how often what was surely not done is tried again; -1: never",
    default: 3,
    min: -1,
    max: 100,
    aliases: ["maxRetries"],
  }),
  redisMinRetryInterval: duration({
    description: "first wait before a new try or connection",
    default: 8,
    ...waits,
  }),
  redisMaxRetryInterval: duration({
    description: "longest wait before a new try or connection",
    default: 512,
    ...waits,
    aliases: ["maxRetryBackoff"],
  }),
  dialTimeout: duration({
    description: "longest wait for a connection, also for one that was lost",
    default: 5_000,
    ...waits,
  }),
  readTimeout: duration({ description: "longest wait for an answer", default: 3_000, ...waits }),
  writeTimeout: duration({
    description: "longest wait for an answer to a write; by default readTimeout",
    ...waits,
  }),
  poolSize: number({ description: "connections at most", missing: pool }),
  minIdleConns: number({ description: "connections that wait for work", missing: pool }),
  maxConnAge: duration({ description: "age at which a connection ends", missing: pool }),
  poolTimeout: duration({ description: "longest wait for a free connection", missing: pool }),
  idleTimeout: duration({ description: "idle time after which a connection ends", missing: pool }),
  idleCheckFrequency: duration({ description: "how often idle connections are looked for", missing: pool }),
  failover: flag({ description: "find the server through Sentinel", missing: sentinel }),
  sentinelMasterName: text({ description: "name of the server at Sentinel", missing: sentinel }),
  sentinelUsername: text({ description: "user at Sentinel", missing: sentinel }),
  sentinelPassword: text({ description: "password at Sentinel", sensitive: true, missing: sentinel }),
  useEntraID: flag({
    description: "tokens of Microsoft Entra ID",
    aliases: ["useAzureAD"],
    missing: token,
  }),
  useOIDC: flag({ description: "tokens of an identity provider", missing: token }),
};
