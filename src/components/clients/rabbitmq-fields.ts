import { choice, duration, flag, text } from "../../component/fields.ts";

/** What every component on RabbitMQ takes: Dapr's names. */
export const rabbitmqFields = {
  connectionString: text({
    description: "amqp://user:password@host:port/vhost, or amqps://… with TLS",
    sensitive: true,
    aliases: ["host"],
  }),
  protocol: choice(["amqp", "amqps"], { description: "amqps: with TLS; as the connection string says" }),
  hostname: text({ description: "host or host:port of the broker", default: "localhost" }),
  username: text({ description: "user, when the connection string has none" }),
  password: text({ description: "the user's password", sensitive: true }),
  caCert: text({ description: "certificates in PEM that may sign the broker's" }),
  clientCert: text({ description: "certificate of the client in PEM" }),
  clientKey: text({ description: "its key in PEM", sensitive: true }),
  saslExternal: flag({
    description: "log in by the client's certificate, without a password",
    default: false,
    aliases: ["externalSasl"],
  }),
  clientName: text({ description: "name of the connection, as the broker shows it" }),
  heartBeat: duration({
    description: "a broker that says nothing for twice as long is given up",
    default: 10_000,
    min: 1_000,
    max: 600_000,
  }),
  reconnectWaitSeconds: duration({
    description: "longest pause before a new connection",
    default: 3_000,
    min: 100,
    max: 600_000,
    aliases: ["reconnectWait", "reconnectWaitInSeconds"],
  }),
  timeout: duration({
    description: "longest wait for the broker's confirmation, and for a connection",
    default: 10_000,
    min: 100,
    max: 600_000,
  }),
};
