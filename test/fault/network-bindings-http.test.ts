import http from "node:http";
import type { AddressInfo } from "node:net";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import definition from "../../src/components/bindings/http.ts";
import { componentHost } from "../contract/component-host.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.http",
  async start() {
    const server = http.createServer((request, response) => void request.pipe(response));
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return {
      port: (server.address() as AddressInfo).port,
      async open(port) {
        const items = { url: `http://127.0.0.1:${port}/`, responseTimeout: "1s" };
        const values = new Map(Object.entries(items));
        const { options } = parseOptions(definition as unknown as ComponentDefinition<ComponentKind>, values);
        const given = options as Parameters<typeof definition.open>[0];
        const binding = await definition.open(given, componentHost());
        return {
          async call(text) {
            const request = { operation: "post", metadata: {}, data: Buffer.from(text) };
            return Buffer.from((await binding.invoke?.(request))?.data ?? []).toString();
          },
          close: () => binding.close(),
        };
      },
      async stop() {
        server.closeAllConnections();
        server.close();
      },
    };
  },
});
