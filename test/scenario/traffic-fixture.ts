import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";

/** A TrafficPolicy as YAML. */
export function trafficPolicy(name: string, spec: string): string {
  return `apiVersion: mecha.run/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
}

export function component(name: string, type: string, metadata = "[]"): string {
  return `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: { name: ${name} }\nspec: { type: ${type}, version: v1, metadata: ${metadata} }\n`;
}

const started: (TestMecha | FakeApp)[] = [];

export async function stopAll(): Promise<void> {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
}

export function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

/** An app `orders` that answers with these statuses and then 200, and `shop` that calls it. */
export async function shopAndOrders(
  resources: string[],
  { statuses = [], headers = {} }: { statuses?: number[]; headers?: Record<string, string> } = {},
) {
  const left = [...statuses];
  const answer = () => {
    const status = left.shift() ?? 200;
    return { status, body: { status }, headers: status === 200 ? {} : headers };
  };
  const orders = keep(await fakeApp({ otherwise: answer }));
  const backup = keep(await fakeApp({ otherwise: () => ({ body: "backup" }) }));
  const mecha = keep(
    await startMecha({
      apps: [
        { appId: "shop", options: { enableMetrics: true, metricsPort: 0 } },
        { appId: "orders", app: orders },
        { appId: "backup", app: backup },
      ],
      resources: resources.join("---\n"),
    }),
  );
  const call = (line = "GET /v1.0/invoke/orders/method/pay", headersOfCall: Record<string, string> = {}) =>
    mecha.http("shop", line, { headers: headersOfCall });
  return { mecha, orders, backup, call };
}
