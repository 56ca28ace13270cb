import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { Options } from "../../component/fields.ts";
import type { mqttFields } from "./mqtt-fields.ts";

export type MqttSettings = Options<typeof mqttFields>;

export interface MqttAddress {
  host: string;
  port: number;
  username: string | undefined;
  password: string | undefined;
  /** Absent: without TLS. */
  tls: ConnectionOptions | undefined;
  /** `host:port`, for messages. */
  where: string;
}

const plain = new Set(["tcp:", "mqtt:"]);
const secure = new Set(["ssl:", "mqtts:", "tcps:", "tls:"]);

/** Where the broker is, and how it is connected with. Throws with what does not fit. */
export function mqttAddress(settings: MqttSettings): MqttAddress {
  const { protocol, url } = urlOf(settings.url);
  const isSecure = secure.has(protocol);
  const port = Number(url.port) || (isSecure ? 8883 : 1883);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return {
    ...{ host, port, where: `${url.hostname}:${port}` },
    username: url.username === "" ? undefined : decodeURIComponent(url.username),
    password: url.password === "" ? undefined : decodeURIComponent(url.password),
    tls: tlsOf(settings, isSecure, host),
  };
}

function urlOf(text: string): { protocol: string; url: URL } {
  const [, protocol, rest] = /^([a-z]+:)\/\/(.+)$/i.exec(text) ?? [];
  if (protocol === undefined || rest === undefined) throw new Error("url is no tcp:// or ssl:// address");
  const lower = protocol.toLowerCase();
  if (!plain.has(lower) && !secure.has(lower)) {
    throw new Error(`url begins with ${lower}//, not with tcp:// or ssl://`);
  }
  try {
    // Other schemes are not taken apart as those of the web are.
    return { protocol: lower, url: new URL(`http://${rest}`) };
  } catch (error) {
    throw new Error("url is no tcp:// or ssl:// address", { cause: error });
  }
}

function tlsOf(settings: MqttSettings, isSecure: boolean, host: string): ConnectionOptions | undefined {
  const { caCert, clientCert, clientKey } = settings;
  if (!clientCert !== !clientKey) throw new Error("clientCert and clientKey need each other");
  if (!isSecure && (caCert || clientCert)) throw new Error("caCert and clientCert need an ssl:// address");
  if (!isSecure) return undefined;
  return {
    ...(isIP(host) === 0 && { servername: host }),
    ...(caCert && { ca: [caCert] }),
    ...(clientCert && clientKey && { cert: clientCert, key: clientKey }),
  };
}
