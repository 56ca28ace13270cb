/** The broker has said no: trying again changes nothing. */
export class MqttRefusal extends Error {
  override name = "MqttRefusal";
}

/** Of CONNACK in MQTT 3.1.1. */
const connectTexts = [
  "",
  "unacceptable protocol version",
  "client id rejected",
  "server unavailable",
  "bad user name or password",
  "not authorized",
];

/** Of MQTT 5, those that are met. */
const texts: Record<number, string> = {
  128: "unspecified error",
  129: "malformed packet",
  130: "protocol error",
  131: "implementation specific error",
  132: "unsupported protocol version",
  133: "client id not valid",
  134: "bad user name or password",
  135: "not authorized",
  136: "server unavailable",
  137: "server busy",
  138: "banned",
  139: "server shutting down",
  141: "keep alive timeout",
  142: "another client has the same client id",
  143: "topic filter invalid",
  144: "topic name invalid",
  147: "more messages than it takes at once",
  149: "packet too large",
  151: "quota exceeded",
  154: "retain not supported",
  155: "QoS not supported",
  158: "shared subscriptions not supported",
  162: "wildcard subscriptions not supported",
};

export function connectReason(code: number, version: number): string {
  const text = version === 5 ? texts[code] : connectTexts[code];
  return `${text ?? "refused"} (${code})`;
}

export function reasonText(code: number): string {
  return `${texts[code] ?? "refused"} (${code})`;
}
