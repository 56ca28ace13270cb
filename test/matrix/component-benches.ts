import { type ComponentLoader, catalog } from "../../src/component/catalog.ts";
import type { ComponentDefinition } from "../../src/component/component.ts";
import { component } from "../../src/component/component.ts";
import { fakeApp, until } from "../../src/testing/index.ts";
import { component as yaml } from "../scenario/traffic-fixture.ts";
import type { Bench, Plan } from "./rig.ts";

/** Components whose calls go by a plan: of the bench that is open, for tests of a file run one after the other. */
let current: Plan | undefined;
let deliver: ((data: Uint8Array) => Promise<unknown>) | undefined;

async function planned(): Promise<void> {
  if ((await current?.next()) === false) throw new Error("broken");
}

const shared = { version: "v1", status: "alpha", summary: "For the matrix", metadata: {} } as const;

const flakyState = component({
  ...shared,
  type: "state.flaky",
  open: async () => ({
    features: new Set<never>(),
    async get() {
      await planned();
      return { data: Buffer.from('"done"'), etag: "1" };
    },
    set: planned,
    delete: planned,
    close: async () => {},
  }),
} as never) as ComponentDefinition;

const flakyPubSub = component({
  ...shared,
  type: "pubsub.flaky",
  open: async () => ({
    features: new Set<never>(),
    publish: planned,
    subscribe: async () => ({ close: async () => {} }),
    close: async () => {},
  }),
} as never) as ComponentDefinition;

const flakyBinding = component({
  ...shared,
  type: "bindings.flaky",
  open: async () => ({
    operations: ["get"],
    async invoke() {
      await planned();
      return { data: Buffer.from('"done"') };
    },
    async read(handler: (event: { data: Uint8Array; metadata: object }) => Promise<unknown>) {
      deliver = (data) => handler({ data, metadata: {} });
    },
    close: async () => {},
  }),
} as never) as ComponentDefinition;

const flakyKeys = component({
  ...shared,
  type: "crypto.flaky",
  open: async () => ({
    async wrapKey() {
      await planned();
      return { ciphertext: Buffer.alloc(40), tag: new Uint8Array(0) };
    },
    close: async () => {},
  }),
} as never) as ComponentDefinition;

const flakyModel = component({
  ...shared,
  type: "conversation.flaky",
  open: async () => ({
    async converse() {
      await planned();
      return {
        choices: [{ finishReason: "stop", text: "done", toolCalls: [] }],
        model: "",
        usage: undefined,
      };
    },
    close: async () => {},
  }),
} as never) as ComponentDefinition;

for (const definition of [flakyKeys, flakyModel, flakyState, flakyPubSub, flakyBinding]) {
  (catalog as Record<string, ComponentLoader>)[`${definition.type}/v1`] = async () => ({
    default: definition,
  });
}

const nothing = (): void => {};

function onApi(
  block: Bench["block"],
  operation: string,
  type: string,
  call: { line: string; body?: object | string; headers?: Record<string, string> },
) {
  const bench: Bench = {
    block,
    target: "{ kind: Component, name: flaky }",
    operation,
    async open(plan) {
      current = plan;
      return {
        apps: [{ appId: "shop" }],
        resources: yaml("flaky", type),
        start: async (mecha) => async () => {
          const { line, ...request } = call;
          const { status, text } = await mecha.http("shop", line, request);
          return { isGood: status < 300, text };
        },
        close: nothing,
      };
    },
  };
  return bench;
}

const bindingIn: Bench = {
  block: "binding in",
  target: "{ kind: Component, name: flaky }",
  operation: "read",
  async open(plan) {
    deliver = undefined;
    const handlers = {
      "OPTIONS /flaky": () => ({}),
      "POST /flaky": async () => ({ status: (await plan.next()) ? 200 : 503 }),
    };
    const app = await fakeApp({ handlers });
    return {
      apps: [{ appId: "shop", app }],
      resources: yaml("flaky", "bindings.flaky"),
      async start() {
        await until(() => deliver !== undefined, "the binding to be read");
        return async () => {
          try {
            await deliver?.(Buffer.from("1"));
            return { isGood: true, text: "" };
          } catch (error) {
            return { isGood: false, text: (error as Error).message };
          }
        };
      },
      close: () => app.close(),
    };
  },
};

export const componentBenches: readonly Bench[] = [
  onApi("state", "get", "state.flaky", { line: "GET /v1.0/state/flaky/a" }),
  onApi("publish", "publish", "pubsub.flaky", { line: "POST /v1.0/publish/flaky/orders", body: { id: 1 } }),
  onApi("binding out", "get", "bindings.flaky", {
    line: "POST /v1.0/bindings/flaky",
    body: { operation: "get", data: 1 },
  }),
  bindingIn,
  onApi("cryptography", "crypto_op", "crypto.flaky", {
    line: "PUT /v1.0-alpha1/crypto/flaky/encrypt",
    headers: { "dapr-key-name": "k", "dapr-key-wrap-algorithm": "AES" },
    body: "plain",
  }),
  onApi("conversation", "converse", "conversation.flaky", {
    line: "POST /v1.0-alpha2/conversation/flaky/converse",
    body: { inputs: [{ messages: [{ ofUser: { content: [{ text: "hi" }] } }] }] },
  }),
];
