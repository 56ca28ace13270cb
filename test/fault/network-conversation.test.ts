import type { ComponentHost } from "../../src/component/component.ts";
import type { Conversation } from "../../src/component/conversation.ts";
import anthropic from "../../src/components/conversation/anthropic.ts";
import openai from "../../src/components/conversation/openai.ts";
import { componentHost } from "../contract/component-host.ts";
import { asked } from "../contract/conversation.ts";
import { serveAnthropic, serveOpenAi, startModelServer } from "../contract/model-server.ts";
import { hastyEdges } from "./hasty-clock.ts";
import { networkedCalls } from "./network-calls.ts";

const none = { key: "secret-key", model: undefined, responseCacheTTL: undefined };

networkedModel("conversation.openai", serveOpenAi, (endpoint, host) =>
  openai.open({ ...none, endpoint, apiType: "open_ai", apiVersion: undefined }, host),
);
networkedModel("conversation.anthropic", serveAnthropic, (endpoint, host) =>
  anthropic.open({ ...none, endpoint, apiType: "anthropic" }, host),
);

/** Models have ten minutes for an answer: here three seconds. */
function networkedModel(
  name: string,
  serve: Parameters<typeof startModelServer>[0],
  openAt: (endpoint: string, host: ComponentHost) => Promise<Conversation>,
): void {
  networkedCalls({
    name,
    async start() {
      const server = await startModelServer(serve);
      return {
        port: Number(new URL(server.url).port),
        async open(port) {
          const host = componentHost({ edges: hastyEdges(200) });
          const model = await openAt(`http://127.0.0.1:${port}/v1`, host);
          return {
            async call(text) {
              const messages = [{ role: "user", name: "", texts: [text] } as const];
              const { choices } = await model.converse({ ...asked, messages }, undefined);
              return choices[0]?.text.replace("You said: ", "") ?? "";
            },
            close: () => model.close(),
          };
        },
        stop: async () => server.close(),
      };
    },
  });
}
