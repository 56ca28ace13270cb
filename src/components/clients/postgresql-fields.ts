import { choice, duration, flag, number, text } from "../../component/fields.ts";

const azure = "tokens of Microsoft Entra ID are not supported yet: give a user and a password";
const aws = "tokens of AWS IAM are not supported yet: give a user and a password";

/** What every component on PostgreSQL takes: Dapr's names. */
export const postgresqlFields = {
  connectionString: text({
    description: "postgresql://user:password@host:port/database, or host=… user=… password=… database=…",
    sensitive: true,
    aliases: ["url"],
  }),
  host: text({ description: "name of the server, in place of that of the connection string" }),
  hostaddr: text({ description: "its address" }),
  port: number({ description: "its port", min: 1, max: 65_535 }),
  database: text({ description: "name of the database" }),
  user: text({ description: "name of the user" }),
  password: text({ description: "password", sensitive: true }),
  sslRootCert: text({ description: "file of the certificates that may sign the server's" }),
  timeout: duration({
    description: "longest wait for an answer",
    default: 20_000,
    min: 1_000,
    max: 600_000,
    aliases: ["timeoutInSeconds"],
  }),
  maxConns: number({ description: "connections at most; 0 or less: 4", default: 0, max: 1_000 }),
  connectionMaxIdleTime: duration({ description: "idle time after which a connection ends", min: 1_000 }),
  queryExecMode: choice(["cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"], {
    description: "the first keeps prepared statements; any other keeps none, for pools such as PgBouncer",
    default: "cache_statement",
  }),
  useAzureAD: flag({ description: "log in with a token of Microsoft Entra ID", missing: azure }),
  useAWSIAM: flag({ description: "log in with a token of AWS IAM", missing: aws }),
};
