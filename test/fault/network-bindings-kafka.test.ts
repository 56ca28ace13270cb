import { freePort } from "../../scripts/free-port.ts";
import type { Binding } from "../../src/component/binding.ts";
import kafka from "../../src/components/bindings/kafka.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startKafka } from "../contract/kafka.ts";
import { isDone } from "./is-done.ts";
import { networkedCalls } from "./network-calls.ts";
import { TcpProxy } from "./tcp-proxy.ts";

networkedCalls({
  name: "bindings.kafka",
  // Each joins a group of its own, and leaves it: 60 ms to 200 ms.
  cycles: 50,
  async start() {
    // Kafka tells its clients where it is: there the proxy has to stand.
    const proxyPort = await freePort();
    const { server, options, stop } = await startKafka({ advertisedPort: String(proxyPort) });
    let count = 0;
    // A broker makes its topics and its coordinator of groups when the first asks for them.
    const proxy = await TcpProxy.before(server.port, { port: proxyPort });
    const brokers = `127.0.0.1:${proxyPort}`;
    const ask = async (): Promise<void> => {
      const first = await kafka.open(options(kafka, { brokers, topics: "net" }), componentHost());
      await first.read?.(async () => undefined).finally(() => first.close());
    };
    await until(() => isDone(ask()), "it answers", 120_000);
    await proxy.close();
    return {
      port: server.port,
      proxyPort,
      async open() {
        const items = { readTimeout: "3s", dialTimeout: "3s", sessionTimeout: "2s", publishTopic: "net" };
        const seen = new Map<string, string>();
        const join = async (): Promise<Binding> => {
          const given = { ...items, brokers, topics: "net", consumerGroup: `net-${++count}` };
          const binding = await kafka.open(options(kafka, given), componentHost());
          const reading = binding.read?.(async ({ data, metadata }) => {
            seen.set(String(metadata.mark), Buffer.from(data).toString());
            return undefined;
          });
          await reading?.catch((error: Error) => binding.close().then(() => Promise.reject(error)));
          return binding;
        };
        // A busy broker may need longer than the timeouts that faults are provoked with.
        const binding = await join().catch(join).catch(join);
        return {
          async call(text) {
            const mark = String(++count);
            await binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata: { mark } });
            await until(() => seen.has(mark), "the message is delivered", 30_000);
            return seen.get(mark) ?? "";
          },
          close: () => binding.close(),
        };
      },
      stop,
    };
  },
});
