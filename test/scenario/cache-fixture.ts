// An app whose answers are kept by the runtime of another, which calls it.
import {
  type AppHandler,
  type FakeApp,
  fakeApp,
  startMecha,
  type TestMecha,
} from "../../src/testing/index.ts";

export interface CachedPair {
  mecha: TestMecha;
  orders: FakeApp;
  /** Calls `orders` as the app `shop` does. */
  get(path: string, headers?: Record<string, string>): ReturnType<TestMecha["http"]>;
  stop(): Promise<void>;
}

/** A TrafficPolicy of `orders`; JSON is YAML. */
export function policyOf(spec: object, name = "kept"): string {
  return JSON.stringify({
    apiVersion: "mecha.run/v1alpha1",
    kind: "TrafficPolicy",
    metadata: { name },
    spec: { targetRefs: [{ kind: "App", name: "orders" }], ...spec },
  });
}

export async function startPair(
  spec: object,
  otherwise: AppHandler,
  { resources = "", ownNode = false }: { resources?: string; ownNode?: boolean } = {},
): Promise<CachedPair> {
  const orders = await fakeApp({ otherwise });
  const documents = [policyOf(spec), resources].filter((text) => text !== "").join("\n---\n");
  const options = { enableMetrics: true, metricsPort: 0, metricsListenAddress: "127.0.0.1" };
  const mecha = await startMecha({
    apps: [
      { appId: "shop", options },
      { appId: "orders", app: orders, options },
    ],
    resources: documents,
  });
  return {
    mecha,
    orders,
    get: (path, headers = {}) => mecha.http("shop", `GET /v1.0/invoke/orders/method${path}`, { headers }),
    async stop() {
      await mecha.stop();
      if (!ownNode) await orders.close();
    },
  };
}
