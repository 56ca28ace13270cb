import { choice, duration, flag, list, number, text } from "../../component/fields.ts";

const wait = { min: 100, max: 600_000 };
const noAssertion = "tokens are got with the client's secret";
const noRegistry = "values are taken as the bytes they are";

/** What every component on Kafka takes: Dapr's names. */
export const kafkaFields = {
  brokers: list({
    description: "host:port of brokers, separated by commas; the others are found by these",
    required: true,
  }),
  consumerGroup: text({ description: "consumer group; by default the consumerID, and that is the app id" }),
  clientID: text({ description: "what the brokers call this client in their logs", default: "mecha" }),
  authType: choice(["none", "password", "mtls", "certificate", "oidc"], {
    description:
      "none: without TLS; password: SASL, over TLS unless disableTls; mtls: with a certificate of the client; certificate: TLS with caCert; oidc: with tokens",
  }),
  authRequired: flag({
    description: "older than authType: true is password when there is a saslPassword, else mtls",
  }),
  saslUsername: text({ description: "user, for authType password" }),
  saslPassword: text({ description: "the user's password", sensitive: true }),
  saslMechanism: choice(["PLAINTEXT", "SHA-256", "SHA-512"], {
    description: "how the password is shown: as it is, or by SCRAM",
    default: "PLAINTEXT",
  }),
  caCert: text({ description: "certificates in PEM that may sign the brokers'" }),
  clientCert: text({ description: "certificate of the client in PEM" }),
  clientKey: text({ description: "its key in PEM", sensitive: true }),
  skipVerify: flag({ description: "take any certificate of a broker", default: false }),
  disableTls: flag({ description: "a password without TLS", default: false }),
  initialOffset: choice(["newest", "oldest"], {
    description:
      "where a group begins that the broker does not know: with what comes from now on, or with all there is",
    default: "newest",
  }),
  maxMessageBytes: number({
    description: "larger messages are refused here; by default the broker decides",
    min: 1,
  }),
  consumeRetryInterval: duration({
    description: "pause before a failed message is handled again",
    bareUnitMs: 1,
    default: 100,
    min: 1,
    max: 3_600_000,
  }),
  heartbeatInterval: duration({
    description: "how often a consumer tells that it lives",
    default: 3_000,
    ...wait,
  }),
  sessionTimeout: duration({
    description: "a consumer that is silent for so long loses its partitions",
    default: 10_000,
    min: 1_000,
    max: 600_000,
  }),
  version: text({
    description: "version of the brokers; only looked at: each broker is asked what it knows",
  }),
  compression: choice(["none", "gzip", "snappy", "lz4", "zstd"], {
    description: "how batches of messages are compressed",
    default: "none",
  }),
  escapeHeaders: flag({ description: "the app gets headers and keys URL-escaped", default: false }),
  excludeHeaderMetaRegex: text({
    description: "names that match are neither sent as headers nor given to the app",
  }),
  channelBufferSize: number({
    description: "messages of a partition that wait here before no more are fetched",
    default: 256,
    min: 1,
    max: 100_000,
  }),
  consumerFetchMin: number({
    description: "bytes that a broker gathers before it answers",
    default: 1,
    min: 1,
  }),
  consumerFetchDefault: number({
    description: "bytes of a partition fetched at once, about",
    default: 1_048_576,
    min: 1,
    max: 1_073_741_824,
  }),
  consumerGroupRebalanceStrategy: choice(["range", "roundrobin"], {
    description: "how partitions are shared by the members of a group",
    default: "range",
  }),
  clientConnectionTopicMetadataRefreshInterval: duration({
    description: "how often new partitions are looked for",
    default: 480_000,
    min: 1_000,
  }),
  dialTimeout: duration({ description: "longest wait for a connection", default: 30_000, ...wait }),
  readTimeout: duration({
    description: "longest wait for a broker's answer, and for a publish",
    default: 30_000,
    ...wait,
  }),
  producerRequiredAcks: choice(["all", "local"], {
    description: "who has to have a message before it is published: all replicas in sync, or the leader",
    default: "all",
  }),
  producerRetryMax: number({
    description: "how often a message is sent again while no broker takes it; the broker drops repetitions",
    default: 5,
    min: 0,
    max: 1_000,
  }),
  writeTimeout: duration({
    description: "longest wait for a request",
    missing: "readTimeout bounds the whole request",
  }),
  metadataTimeout: duration({ description: "longest wait for metadata", missing: "readTimeout bounds it" }),
  clientConnectionKeepAliveInterval: duration({
    description: "age at which connections are closed",
    missing: "connections are kept until one side closes them",
  }),
  oidcTokenEndpoint: text({ description: "where tokens are got, for authType oidc" }),
  oidcClientID: text({ description: "client of the identity provider" }),
  oidcClientSecret: text({ description: "the client's secret", sensitive: true }),
  oidcScopes: list({ description: "scopes of the token", default: ["openid"] }),
  oidcExtensions: text({ description: "what else the brokers are told, as a JSON object of texts" }),
  oidcClientAssertionCert: text({ description: "certificate of the client", missing: noAssertion }),
  oidcClientAssertionKey: text({ description: "its key", sensitive: true, missing: noAssertion }),
  oidcResource: text({ description: "resource of the token", missing: noAssertion }),
  oidcAudience: text({ description: "audience of the assertion", missing: noAssertion }),
  oidcKid: text({ description: "id of the client's key", missing: noAssertion }),
  schemaRegistryURL: text({ description: "the schema registry", missing: noRegistry }),
  schemaRegistryAPIKey: text({ description: "its key", missing: noRegistry }),
  schemaRegistryAPISecret: text({ description: "its secret", sensitive: true, missing: noRegistry }),
  schemaCachingEnabled: flag({ description: "cache of schemas", missing: noRegistry }),
  schemaLatestVersionCacheTTL: duration({ description: "age of cached schemas", missing: noRegistry }),
  useAvroJSON: flag({ description: "Avro's own JSON", missing: noRegistry }),
};
