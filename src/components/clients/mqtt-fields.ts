import { duration, flag, text } from "../../component/fields.ts";

/** What every component on MQTT takes: Dapr's names, and some of our own. */
export const mqttFields = {
  url: text({
    description: "tcp://user:password@host:port, or ssl://… with TLS",
    required: true,
    sensitive: true,
  }),
  retain: flag({
    description: "the broker keeps the last message of a topic for who subscribes later",
    default: false,
  }),
  cleanSession: flag({
    description: "the broker forgets the subscriber, and what waits for it, when it leaves",
    default: false,
  }),
  caCert: text({ description: "certificates in PEM that may sign the broker's" }),
  clientCert: text({ description: "certificate of the client in PEM" }),
  clientKey: text({ description: "its key in PEM", sensitive: true }),
  clientID: text({
    description: "what the broker knows this instance by; by default the consumerID. No two may have one",
  }),
  awaitSave: flag({
    description:
      "a message counts as published when Mosquitto has saved it: it has to have autosave_on_changes true and autosave_interval 1",
    default: false,
  }),
  keepAlive: duration({
    description: "a broker that says nothing for half as long again is given up",
    default: 30_000,
    min: 1_000,
    max: 65_535_000,
  }),
  timeout: duration({
    description: "longest wait for the broker's confirmation, and for a connection",
    default: 20_000,
    min: 100,
    max: 600_000,
  }),
};
