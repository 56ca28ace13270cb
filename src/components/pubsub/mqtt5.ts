import { component } from "../../component/component.ts";
import { mqttPubSubFields, openMqttPubSub } from "../clients/mqtt-pubsub.ts";

export default component({
  type: "pubsub.mqtt5",
  version: "v1",
  status: "beta",
  summary: "Topics of an MQTT broker, by MQTT 5: metadata, content types and times to live travel along",
  package: "mqtt-packet",
  metadata: mqttPubSubFields,
  open: (options, host) =>
    openMqttPubSub(options, { version: 5, features: new Set(["SUBSCRIBE_WILDCARDS", "MESSAGE_TTL"]) }, host),
});
