import { duration, text } from "../../component/fields.ts";

/** What every component on NATS takes: Dapr's names, and `timeout`. */
export const natsFields = {
  natsURL: text({
    description: "nats://host:port, or tls://host:port; several with commas",
    required: true,
  }),
  name: text({ description: "name of the connection, as the server shows it", default: "mecha" }),
  token: text({ description: "token that the server asks for", sensitive: true }),
  jwt: text({ description: "user's JWT; needs seedKey", sensitive: true }),
  seedKey: text({ description: "seed of the user's key; needs jwt", sensitive: true }),
  tls_client_cert: text({ description: "certificate of the client: PEM, or a file" }),
  tls_client_key: text({ description: "its key: PEM, or a file", sensitive: true }),
  tls_ca: text({ description: "certificates that may sign the server's: PEM, or a file" }),
  domain: text({ description: "domain of JetStream" }),
  apiPrefix: text({ description: "prefix of the subjects of JetStream's API" }),
  timeout: duration({
    description: "longest wait for an answer, and for a connection",
    default: 5_000,
    min: 100,
    max: 600_000,
  }),
};
