import type { IPublishPacket, QoS } from "mqtt-packet";
import { choice, flag, parseFlag } from "../../component/fields.ts";
import { OpenSubscriptions } from "../../component/open-subscriptions.ts";
import type {
  IncomingMessage,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import { MqttLink, type MqttSurroundings } from "./mqtt.ts";
import type { MqttSettings } from "./mqtt-address.ts";
import type { IncomingPublish, MqttVersion } from "./mqtt-connection.ts";
import { mqttFields } from "./mqtt-fields.ts";
import { MqttReader } from "./mqtt-reader.ts";

export const mqttPubSubFields = {
  ...mqttFields,
  qos: choice(["0", "1", "2"], {
    description: "0: at most once; 1: at least once; 2: once between mecha and the broker",
    default: "1",
  }),
  shared: flag({
    description:
      "those with one consumerID share the messages ($share/CONSUMERID/TOPIC); each needs a clientID",
    default: false,
  }),
};

export type MqttPubSubSettings = MqttSettings & { qos: "0" | "1" | "2"; shared: boolean };

interface Protocol {
  version: MqttVersion;
  features: ReadonlySet<PubSubFeature>;
}

export async function openMqttPubSub(
  settings: MqttPubSubSettings,
  { version, features }: Protocol,
  surroundings: MqttSurroundings,
): Promise<PubSub> {
  if (settings.shared && !settings.clientID) {
    throw new Error('shared needs a clientID of its own for each instance, such as "{appID}-{podName}"');
  }
  if (settings.awaitSave && settings.qos === "0") throw new Error("awaitSave needs qos 1 or 2");
  return new MqttPubSub(await MqttLink.open(settings, version, surroundings), settings, features);
}

/** Topics are the broker's. A subscription is a session of its own there, by the names of the instance and the topic. */
class MqttPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature>;
  readonly #link: MqttLink;
  readonly #settings: MqttPubSubSettings;
  readonly #qos: QoS;
  readonly #readers = new Map<string, MqttReader>();
  readonly #subscriptions = new OpenSubscriptions();

  constructor(link: MqttLink, settings: MqttPubSubSettings, features: ReadonlySet<PubSubFeature>) {
    this.#link = link;
    this.#settings = settings;
    this.#qos = Number(settings.qos) as QoS;
    this.features = features;
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    checkTopic(topic);
    const { retain, ...rest } = metadata;
    await this.#link.publish({
      ...{ topic, payload: Buffer.from(data), qos: this.#qos },
      retain: retain ? flagOf(retain, "retain") : this.#settings.retain,
      ...(this.#link.version === 5 && { properties: propertiesOf(rest, contentType) }),
    });
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const { topic, consumerGroup, concurrencyMax, bulkMax = 0, metadata } = request;
    const { cleanSession, shared, clientID } = this.#settings;
    const unsubscribes = flagOf(metadata.unsubscribeOnClose ?? "", "unsubscribeOnClose");
    const filter = shared && !topic.startsWith("$share/") ? `$share/${consumerGroup}/${topic}` : topic;
    const clientId = `${clientID || consumerGroup}-${topic}`;
    let reader = this.#readers.get(clientId);
    if (reader === undefined) {
      reader = new MqttReader(this.#link, {
        ...{ clientId, filter, qos: this.#qos, clean: cleanSession, partitionKeyOf },
      });
      this.#readers.set(clientId, reader);
    }
    const leave = (): void => {
      if (reader.isEmpty && this.#readers.get(clientId) === reader) this.#readers.delete(clientId);
    };
    const handle = (packet: IncomingPublish, attempt: number | undefined): Promise<void> =>
      handler(messageOf(packet, attempt));
    try {
      const taken = await reader.add({ concurrencyMax: Math.max(concurrencyMax, bulkMax), handle });
      return this.#subscriptions.add({
        close: async () => {
          const closing = taken.close({ unsubscribes });
          leave();
          await closing;
        },
      });
    } catch (error) {
      leave();
      throw new Error(`can not subscribe to ${topic} of mqtt: ${(error as Error).message}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await this.#link.close();
  }
}

const topicBytesMax = 65_535;

export function checkTopic(topic: string): void {
  if (topic === "" || /[+#\0]/.test(topic) || Buffer.byteLength(topic) > topicBytesMax) {
    throw new Error(`${JSON.stringify(topic.slice(0, 100))} is no topic of mqtt to publish to`);
  }
}

function flagOf(value: string, name: string): boolean {
  try {
    return parseFlag(value);
  } catch (error) {
    throw new Error(`${name} is ${JSON.stringify(value)}, expected true or false`, { cause: error });
  }
}

/** MQTT 5 carries what 3.1.1 has no place for. */
function propertiesOf(metadata: Record<string, string>, contentType: string): IPublishPacket["properties"] {
  const { ttlInSeconds, ...userProperties } = metadata;
  if (ttlInSeconds && !/^\d{1,9}$/.test(ttlInSeconds)) {
    throw new Error(`ttlInSeconds is ${JSON.stringify(ttlInSeconds)}, not a whole number`);
  }
  return {
    ...(contentType !== "" && { contentType }),
    ...(ttlInSeconds && { messageExpiryInterval: Number(ttlInSeconds) }),
    ...(Object.keys(userProperties).length > 0 && { userProperties }),
  };
}

function partitionKeyOf({ properties }: IncomingPublish): string | undefined {
  const key = properties?.userProperties?.partitionKey;
  return typeof key === "string" ? key : undefined;
}

function messageOf(packet: IncomingPublish, attempt: number | undefined): IncomingMessage {
  const { topic, payload, properties, retain } = packet;
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(properties?.userProperties ?? {})) {
    metadata[name] = typeof value === "string" ? value : value.join(",");
  }
  metadata.retained = String(retain);
  return { topic, data: payload, contentType: properties?.contentType ?? "", metadata, attempt };
}
