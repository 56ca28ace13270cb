import type { Options as Amqp } from "amqplib";

export interface MessageDefaults {
  /** 2: messages outlive the broker. */
  deliveryMode: number;
  /** Milliseconds. */
  ttlInSeconds: number | undefined;
}

/** What of the metadata are properties of AMQP; the rest are headers. */
export function propertiesFor(
  metadata: Record<string, string>,
  contentType: string,
  { deliveryMode, ttlInSeconds }: MessageDefaults,
): { routingKey: string; options: Amqp.Publish } {
  const headers: Record<string, string> = {};
  const known = new Map<string, string>();
  for (const [name, value] of Object.entries(metadata)) {
    const lower = name.toLowerCase();
    if (properties.has(lower)) known.set(lower, value);
    else headers[name] = value;
  }
  const ttl = wholeNumber(known.get("ttlinseconds"), "ttlInSeconds");
  const expiration = ttl === undefined ? ttlInSeconds : ttl * 1000;
  const priority = wholeNumber(known.get("priority"), "priority");
  const options = {
    ...{ headers, persistent: deliveryMode === 2, contentType: contentType || "text/plain" },
    ...(expiration !== undefined && { expiration }),
    ...(priority !== undefined && { priority: Math.min(priority, priorityMax) }),
    messageId: known.get("messageid"),
    correlationId: known.get("correlationid"),
    type: known.get("type"),
  };
  return { routingKey: known.get("routingkey") ?? "", options };
}

const properties = new Set(["routingkey", "ttlinseconds", "priority", "messageid", "correlationid", "type"]);
export const priorityMax = 255;

export function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} is ${JSON.stringify(text)}, not a whole number`);
  return Number(text);
}
