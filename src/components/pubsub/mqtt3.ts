import { component } from "../../component/component.ts";
import { mqttPubSubFields, openMqttPubSub } from "../clients/mqtt-pubsub.ts";

export default component({
  type: "pubsub.mqtt3",
  version: "v1",
  status: "stable",
  summary: "Topics of an MQTT broker, by MQTT 3.1.1; sessions keep what the app has not seen",
  package: "mqtt-packet",
  metadata: mqttPubSubFields,
  open: (options, host) =>
    openMqttPubSub(options, { version: 4, features: new Set(["SUBSCRIBE_WILDCARDS"]) }, host),
});
