import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import consul from "../../src/components/nameresolution/consul.ts";
import { componentHost } from "../contract/component-host.ts";
import { startConsul } from "../contract/consul-server.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "nameresolution.consul",
  async start() {
    const server = await startConsul();
    const port = 7_001;
    return {
      port: server.port,
      async open(proxyPort) {
        const values = new Map(Object.entries({ "client.address": `127.0.0.1:${proxyPort}`, timeout: "1s" }));
        const definition = consul as unknown as ComponentDefinition<ComponentKind>;
        const { options } = parseOptions(definition, values);
        const resolver = await consul.open(options as Parameters<typeof consul.open>[0], componentHost());
        return {
          // A service of that name, as far as names go.
          async call(text) {
            const appId = `x${Buffer.from(text).toString("hex")}`;
            const Meta = { DAPR_PORT: String(port) };
            server.services.set(appId, { ID: appId, Name: appId, Address: "10.0.0.7", Meta, checks: [] });
            const [found] = await resolver.find({ appId, namespace: "default", port: 1 });
            return found?.host === "10.0.0.7" && found.port === port ? text : "it was not found";
          },
          close: () => resolver.close(),
        };
      },
      stop: () => server.close(),
    };
  },
});
