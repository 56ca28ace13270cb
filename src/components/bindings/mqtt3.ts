import type { Binding, BindingEvent, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { number, text } from "../../component/fields.ts";
import { MqttLink } from "../clients/mqtt.ts";
import type { MqttSettings } from "../clients/mqtt-address.ts";
import type { IncomingPublish } from "../clients/mqtt-connection.ts";
import { mqttFields } from "../clients/mqtt-fields.ts";
import { checkTopic } from "../clients/mqtt-pubsub.ts";
import { MqttReader } from "../clients/mqtt-reader.ts";

export default component({
  type: "bindings.mqtt3",
  version: "v1",
  status: "beta",
  summary: "Messages to a topic of an MQTT broker and from topics, by MQTT 3.1.1 with QoS 1",
  package: "mqtt-packet",
  metadata: {
    ...mqttFields,
    topic: text({
      description: "create publishes to it, and the app gets its messages",
      required: true,
    }),
    consumerID: text({ description: "name of the session at the broker; by default the app id" }),
    backOffMaxRetries: number({
      description: "how often a message is tried again before the broker has it back; -1: without end",
      default: 3,
      min: -1,
    }),
    qos: text({ description: "quality of service", missing: "it is 1 for every binding, as in Dapr" }),
  },
  async open(options, host): Promise<Binding> {
    const { clientID, consumerID, topic } = options;
    const clientId = `${clientID || consumerID || host.appId}-consumer`;
    return new MqttBinding(await MqttLink.open(options, 4, host), { ...options, topic, clientId });
  },
});

type Settings = MqttSettings & { topic: string; clientId: string; backOffMaxRetries: number };

const concurrencyMax = 64;

class MqttBinding implements Binding {
  readonly operations = ["create"];
  readonly #link: MqttLink;
  readonly #settings: Settings;
  readonly #readers: { close(options: { unsubscribes: boolean }): Promise<void> }[] = [];

  constructor(link: MqttLink, settings: Settings) {
    this.#link = link;
    this.#settings = settings;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (operation !== "create") throw new Error(`invalid operation type: ${operation}. Expected create`);
    const topic = metadata.topic || this.#settings.topic;
    checkTopic(topic);
    const { retain } = this.#settings;
    await this.#link.publish({ topic, payload: Buffer.from(data), qos: 1, retain });
    return undefined;
  }

  async read(handler: (event: BindingEvent) => Promise<Uint8Array | undefined>): Promise<void> {
    const { clientId, topic, cleanSession, backOffMaxRetries } = this.#settings;
    const options = { clientId, filter: topic, qos: 1 as const, clean: cleanSession };
    const reader = new MqttReader(this.#link, {
      ...options,
      ...(backOffMaxRetries >= 0 && { attemptsMax: backOffMaxRetries + 1 }),
    });
    const handle = async ({ topic, payload }: IncomingPublish): Promise<void> => {
      await handler({ data: payload, metadata: { topic } });
    };
    this.#readers.push(await reader.add({ concurrencyMax, handle }));
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.close({ unsubscribes: false })));
    await this.#link.close();
  }
}
