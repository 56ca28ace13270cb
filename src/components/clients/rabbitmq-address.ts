import type { RabbitmqSettings } from "./rabbitmq.ts";

export interface RabbitmqAddress {
  url: string;
  /** `host:port`, for messages. */
  where: string;
  tls: { ca?: string[]; cert?: string; key?: string };
}

/** Where the broker is, and how it is connected with. Throws with what does not fit. */
export function rabbitmqAddress(settings: RabbitmqSettings): RabbitmqAddress {
  const url = urlOf(settings);
  const port = url.port || (url.protocol === "amqps:" ? "5671" : "5672");
  return { url: url.href, where: `${url.hostname}:${port}`, tls: tlsOf(settings, url) };
}

function urlOf(settings: RabbitmqSettings): URL {
  const { connectionString, protocol, hostname, username, password, heartBeat } = settings;
  let url: URL;
  try {
    url = new URL(connectionString ?? `${protocol ?? "amqp"}://${hostname}`);
  } catch (error) {
    throw new Error("connectionString is no amqp:// address", { cause: error });
  }
  if (url.protocol !== "amqp:" && url.protocol !== "amqps:") {
    throw new Error(`connectionString begins with ${url.protocol}//, not with amqp:// or amqps://`);
  }
  if (protocol !== undefined && url.protocol !== `${protocol}:`) {
    throw new Error(`protocol is ${protocol}, and the connection string begins with ${url.protocol}//`);
  }
  if (url.username === "" && username !== undefined) url.username = encodeURIComponent(username);
  if (url.password === "" && password !== undefined) url.password = encodeURIComponent(password);
  if (!url.searchParams.has("heartbeat"))
    url.searchParams.set("heartbeat", String(Math.ceil(heartBeat / 1000)));
  return url;
}

function tlsOf(settings: RabbitmqSettings, { protocol }: URL): RabbitmqAddress["tls"] {
  const { caCert, clientCert, clientKey, saslExternal } = settings;
  if (!clientCert !== !clientKey) throw new Error("clientCert and clientKey need each other");
  if (saslExternal && !clientCert) throw new Error("saslExternal needs caCert, clientCert and clientKey");
  if (protocol === "amqp:" && (caCert || clientCert)) {
    throw new Error("caCert and clientCert need an amqps:// address");
  }
  return {
    ...(caCert && { ca: [caCert] }),
    ...(clientCert && clientKey && { cert: clientCert, key: clientKey }),
  };
}
