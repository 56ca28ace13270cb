import type { Options } from "../../component/fields.ts";
import type { Clock } from "../../edges/clock.ts";
import type { kafkaFields } from "./kafka-fields.ts";
import { kafkaTokenSource } from "./kafka-token.ts";

export type KafkaSettings = Options<typeof kafkaFields>;

export interface KafkaAddress {
  bootstrapBrokers: { host: string; port: number }[];
  tls?: { ca?: string[]; cert?: string; key?: string; rejectUnauthorized: boolean };
  sasl?: Sasl;
}

type Sasl =
  | { mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512"; username: string; password: string }
  | {
      mechanism: "OAUTHBEARER";
      token: () => Promise<string>;
      oauthBearerExtensions: Record<string, string>;
    };

const mechanisms = { PLAINTEXT: "PLAIN", "SHA-256": "SCRAM-SHA-256", "SHA-512": "SCRAM-SHA-512" } as const;

/** Where the brokers are, and how they are connected with. Throws with what does not fit. */
export function kafkaAddress(settings: KafkaSettings, clock: Clock): KafkaAddress {
  if (settings.version !== undefined && !/^\d+(\.\d+){2,3}$/.test(settings.version)) {
    throw new Error(`version is ${JSON.stringify(settings.version)}, not a version of Kafka such as 2.0.0`);
  }
  const bootstrapBrokers = settings.brokers.map(brokerOf);
  if (bootstrapBrokers.length === 0) throw new Error("brokers is empty");
  const authType = authTypeOf(settings);
  const tls = authType === "none" || settings.disableTls ? undefined : tlsOf(settings, authType);
  return {
    bootstrapBrokers,
    ...(tls && { tls }),
    ...(authType === "password" && { sasl: passwordOf(settings) }),
    ...(authType === "oidc" && { sasl: bearerOf(settings, clock) }),
  };
}

function brokerOf(text: string): { host: string; port: number } {
  const [, host = "", port = "9092"] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === "" || Number(port) > 65_535) throw new Error(`brokers has ${text}, which is no host:port`);
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

function authTypeOf({
  authType,
  authRequired,
  saslPassword,
}: KafkaSettings): KafkaSettings["authType"] & string {
  if (authType !== undefined) return authType;
  if (authRequired === undefined)
    throw new Error("authType is missing: none, password, mtls, certificate or oidc");
  if (!authRequired) return "none";
  return saslPassword ? "password" : "mtls";
}

function bearerOf(settings: KafkaSettings, clock: Clock): Sasl {
  const { token, extensions: oauthBearerExtensions } = kafkaTokenSource(settings, clock);
  return { mechanism: "OAUTHBEARER", token, oauthBearerExtensions };
}

function passwordOf({ saslUsername, saslPassword, saslMechanism }: KafkaSettings): Sasl {
  if (!saslUsername) throw new Error("saslUsername is missing, for authType password");
  if (!saslPassword) throw new Error("saslPassword is missing, for authType password");
  return { mechanism: mechanisms[saslMechanism], username: saslUsername, password: saslPassword };
}

function tlsOf(settings: KafkaSettings, authType: string): NonNullable<KafkaAddress["tls"]> {
  const { caCert, clientCert, clientKey, skipVerify } = settings;
  if (authType === "certificate" && !caCert) throw new Error("caCert is missing, for authType certificate");
  if (!clientCert !== !clientKey) throw new Error("clientCert and clientKey need each other");
  if (authType === "mtls" && !clientCert)
    throw new Error("clientCert and clientKey are missing, for authType mtls");
  const isOwn = authType === "mtls" && clientCert && clientKey;
  return {
    rejectUnauthorized: !skipVerify,
    ...(caCert && { ca: [pem("caCert", caCert)] }),
    ...(isOwn && { cert: pem("clientCert", clientCert), key: pem("clientKey", clientKey) }),
  };
}

function pem(field: string, value: string): string {
  if (!value.includes("-----BEGIN ")) throw new Error(`${field} holds no PEM`);
  return value;
}
