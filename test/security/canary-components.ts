import { catalog } from "../../src/component/catalog.ts";
import type { ComponentDefinition } from "../../src/component/component.ts";
import type { Canaries } from "./canary.ts";

/** A server that a component is pointed at. */
export interface Server {
  host: string;
  port: number;
}

interface Making extends Server {
  address: string;
  url: string;
  /** A secret of the field that is being made. */
  text: string;
  base64: string;
  pem: string;
}

type Value = string | ((making: Making) => string);
type Variant = Record<string, Value>;

export interface CanaryComponent {
  name: string;
  type: string;
  version: string;
  metadata: { name: string; value: string }[];
  /** By secretKeyRef; otherwise they stand in the file. */
  isByReference: boolean;
  /** A field of it has a secret for a value that means something else. */
  isWrong: boolean;
}

const secret = ({ text }: Making): string => text;
const key = ({ pem }: Making): string => pem;
const address = (making: Making): string => making.address;
const url = (making: Making): string => making.url;
const certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

const aws: Variant = {
  region: "us-east-1",
  endpoint: url,
  accessKey: secret,
  secretKey: secret,
  sessionToken: secret,
};
const azure: Variant = {
  accountName: "acct",
  accountKey: ({ base64 }) => base64,
  endpoint: url,
  queueEndpoint: url,
};
const kafka: Variant = {
  brokers: address,
  topics: "t",
  publishTopic: "t",
  consumerGroup: "g",
  disableTls: "true",
};
const nats: Variant = {
  natsURL: ({ host, port }) => `nats://${host}:${port}`,
  bucket: "b",
  streamName: "s",
  subject: "s",
};
const postgres: Variant = {
  host: ({ host }) => host,
  port: ({ port }) => String(port),
  database: "d",
  user: "u",
};
const redis: Variant = { redisHost: address };
const mqtt =
  (scheme: string): Value =>
  ({ address: at, text }) =>
    `${scheme}://u:${text}@${at}`;
const rabbitmq =
  (scheme: string): Value =>
  ({ address: at, text }) =>
    `${scheme}://u:${text}@${at}`;
const mysql: Value = ({ address: at, text }) => `u:${text}@tcp(${at})/d`;
const dsn: Value = ({ host, port, text }) =>
  `host=${host} port=${port} user=u password=${text} dbname=d connect_timeout=1`;
const postgresUrl: Value = ({ address: at, text }) => `postgresql://u:${text}@${at}/d?connect_timeout=1`;

/** Ways to give secrets, by the name of a type or of the end of one. */
const variants: Record<string, Variant[]> = {
  aws: [aws],
  azure: [
    azure,
    {
      connectionString: ({ base64, url: at }) =>
        `DefaultEndpointsProtocol=http;AccountName=acct;AccountKey=${base64};BlobEndpoint=${at}/acct`,
    },
  ],
  "bindings.graphql": [{ endpoint: ({ address: at, text }) => `http://u:${text}@${at}/graphql` }],
  "bindings.http": [
    { url, securityToken: secret, securityTokenHeader: "X-Key" },
    { url: ({ address: at }) => `https://${at}`, MTLSClientCert: certificate, MTLSClientKey: key },
    { url: ({ address: at, text }) => `http://u:${text}@${at}/?key=${text}` },
  ],
  kafka: [
    { ...kafka, authType: "password", saslUsername: "u", saslPassword: secret },
    { ...kafka, authType: "password", saslUsername: "u", saslPassword: secret, saslMechanism: "SHA-512" },
    {
      ...kafka,
      authType: "certificate",
      caCert: certificate,
      clientCert: certificate,
      clientKey: key,
      disableTls: "false",
    },
    { ...kafka, authType: "oidc", oidcTokenEndpoint: url, oidcClientID: "c", oidcClientSecret: secret },
  ],
  mqtt3: [{ url: mqtt("mqtt") }, { url: mqtt("mqtts"), clientCert: certificate, clientKey: key }],
  mqtt5: [{ url: mqtt("mqtt") }, { url: mqtt("mqtts"), clientCert: certificate, clientKey: key }],
  mysql: [{ url: mysql, connectionString: mysql }],
  nats: [
    { ...nats, token: secret },
    { ...nats, jwt: secret, seedKey: secret },
    { ...nats, tls_client_cert: certificate, tls_client_key: key },
    { ...nats, natsURL: ({ address: at, text }) => `nats://u:${text}@${at}` },
  ],
  postgresql: [
    { connectionString: dsn },
    { connectionString: postgresUrl },
    { ...postgres, password: secret },
  ],
  rabbitmq: [
    { connectionString: rabbitmq("amqp") },
    { protocol: "amqp", hostname: ({ host }) => host, username: "u", password: secret },
    { connectionString: rabbitmq("amqps"), clientCert: certificate, clientKey: key },
  ],
  redis: [
    { ...redis, redisPassword: secret },
    { ...redis, enableTLS: "true", clientCert: certificate, clientKey: key },
  ],
  "bindings.sftp": [
    { address, rootPath: "/", username: "u", password: secret, insecureIgnoreHostKey: "true" },
    {
      address,
      rootPath: "/",
      username: "u",
      privateKey: key,
      privateKeyPassphrase: secret,
      insecureIgnoreHostKey: "true",
    },
  ],
  "bindings.smtp": [
    {
      host: ({ host }) => host,
      port: ({ port }) => String(port),
      user: "u",
      password: secret,
      emailFrom: "a@b",
      emailTo: "c@d",
      subject: "s",
    },
  ],
  "bindings.webhook": [{ port: "0", signature: "github", secret, previousSecret: secret }],
  conversation: [{ key: secret, endpoint: url, model: "m" }],
  "crypto.dapr.jwks": [
    { jwks: ({ base64 }) => JSON.stringify({ keys: [{ kid: "k", kty: "oct", k: base64 }] }) },
    { jwks: ({ text }) => `{"keys":[{"kid":"k","kty":"oct","k":"${text}"` },
    { jwks: ({ address: at, text }) => `http://u:${text}@${at}/keys` },
  ],
  "middleware.http.oauth2": [
    {
      clientID: "c",
      clientSecret: secret,
      authURL: url,
      tokenURL: url,
      redirectURL: url,
      pathFilter: "/method/login.*",
      cookieKey: ({ base64 }) => base64,
    },
  ],
  "middleware.http.oauth2clientcredentials": [
    {
      clientID: "c",
      clientSecret: secret,
      scopes: "s",
      tokenURL: url,
      headerName: "authorization",
      pathFilter: "/method/token.*",
    },
  ],
  "pubsub.pulsar": [
    { host: address, token: secret },
    { host: address, publicKey: certificate, privateKey: key, keys: "k" },
    { host: address, oauth2TokenURL: url, oauth2ClientID: "c", oauth2ClientSecret: secret },
  ],
  "secretstores.hashicorp.vault": [{ vaultAddr: url, vaultToken: secret }],
  "state.mongodb": [
    {
      connectionString: ({ address: at, text }) => `mongodb://u:${text}@${at}/d?serverSelectionTimeoutMS=300`,
    },
    { host: address, username: "u", password: secret },
  ],
};
variants.jetstream = variants.nats ?? [];

/** Components of every type, so that each of its secret fields is given in each way that there is. */
export async function canaryComponents(canaries: Canaries, server: Server): Promise<CanaryComponent[]> {
  const made: CanaryComponent[] = [];
  for (const load of Object.values(catalog)) {
    const { default: definition } = (await load()) as { default: ComponentDefinition };
    const ways = variantsOf(definition).flatMap((variant) => [
      { variant, isByReference: true, isWrong: false },
      { variant, isByReference: false, isWrong: false },
    ]);
    // A text that is secret may turn up in any field: numbers that are none, addresses that nobody has.
    const taking = Object.entries(definition.metadata).filter(
      ([, one]) => one.type !== "text" || one.isRequired,
    );
    const wrong = taking.map(([field]) => {
      const variant = { ...ways[0]?.variant, [field]: secret };
      return { variant, isByReference: true, isWrong: true };
    });
    for (const { variant, ...way } of [...ways, ...wrong]) {
      const { type, version } = definition;
      const where = (field: string) => `${type} ${field}${way.isWrong ? " in a wrong place" : ""}`;
      const metadata = metadataOf(definition, variant, (field) => makingOf(canaries, server, where(field)));
      made.push({ name: `c${made.length}`, type, version, metadata, ...way });
    }
  }
  return made;
}

/** One that gives each secret field that no way in the table does; a type that is new is tried as well as can be. */
function variantsOf(definition: ComponentDefinition): Variant[] {
  const { type, metadata } = definition;
  const parts = type.split(".");
  const table =
    variants[type] ??
    variants[parts.at(-1) ?? ""] ??
    variants[parts[1] ?? ""] ??
    variants[parts[0] ?? ""] ??
    [];
  const known = Object.keys(metadata);
  const fitting = table.map((variant) =>
    Object.fromEntries(Object.entries(variant).filter(([field]) => known.includes(field))),
  );
  const given = new Set(fitting.flatMap((variant) => Object.keys(variant)));
  const rest = known.filter((field) => metadata[field]?.isSensitive && !given.has(field));
  return [
    ...fitting.filter((variant) => Object.keys(variant).length > 0),
    ...rest.map((field) => ({ ...fitting[0], [field]: secret })),
  ];
}

function metadataOf(definition: ComponentDefinition, variant: Variant, making: (field: string) => Making) {
  const required = Object.entries(definition.metadata).flatMap(([field, { isRequired, type }]) =>
    isRequired && !(field in variant) ? [[field, type === "number" ? "1" : "x"] as [string, Value]] : [],
  );
  const all: [string, Value][] = [...required, ...Object.entries(variant)];
  return all.map(([name, value]) => ({
    name,
    value: typeof value === "string" ? value : value(making(name)),
  }));
}

function makingOf(canaries: Canaries, { host, port }: Server, where: string): Making {
  const at = `${host}:${port}`;
  return {
    ...{ host, port, address: at, url: `http://${at}` },
    get text() {
      return canaries.text(where);
    },
    get base64() {
      return canaries.base64(where);
    },
    get pem() {
      return canaries.pem(where);
    },
  };
}

/** Every secret field there is, as `type field`. */
export async function secretFields(): Promise<string[]> {
  const found: string[] = [];
  for (const load of Object.values(catalog)) {
    const { default: definition } = (await load()) as { default: ComponentDefinition };
    for (const [field, { isSensitive }] of Object.entries(definition.metadata)) {
      if (isSensitive) found.push(`${definition.type} ${field}`);
    }
  }
  return found;
}
