import { freePort } from "../mecha-process.ts";
import { overHttp, proxied } from "./call-benches.ts";
import type { Bench, Opened, Plan } from "./rig.ts";

// What policies can be attached to on the way of a call: the same calls as in call-benches.ts, by a route or a Gateway.

function gatewayApi(kind: string, name: string, spec: object): string {
  return `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${JSON.stringify(spec)}\n`;
}

const app = { kind: "App", group: "mecha.run", name: "orders" };
const version = { kind: "AppVersion", group: "mecha.run", name: "orders-v2" };

/** Another bench, whose calls go by a route. */
function routed(bench: Bench, kind: string, backend: object): (plan: Plan) => Promise<Opened> {
  const route = gatewayApi(kind, "way", { parentRefs: [app], rules: [{ backendRefs: [backend] }] });
  return async (plan) => ({ ...(await bench.open(plan)), resources: route });
}

const httpRoute: Bench = {
  block: "HTTPRoute",
  target: "{ kind: HTTPRoute, name: way }",
  operation: "GET",
  open: routed(overHttp, "HTTPRoute", app),
};

const grpcRoute: Bench = {
  block: "GRPCRoute",
  target: "{ kind: GRPCRoute, name: way }",
  operation: "POST",
  open: routed(proxied, "GRPCRoute", app),
};

const appVersion: Bench = {
  block: "AppVersion",
  target: "{ kind: AppVersion, name: orders-v2 }",
  operation: "GET",
  async open(plan) {
    const opened = await routed(overHttp, "HTTPRoute", version)(plan);
    const labels = { version: "v2" };
    const apps = opened.apps.map((one) => (one.appId === "shop" ? one : { ...one, options: { labels } }));
    return { ...opened, apps };
  },
};

const gateway: Bench = {
  block: "Gateway",
  target: "{ kind: Gateway, name: front }",
  operation: "GET",
  async open(plan) {
    const port = await freePort();
    const listeners = [{ name: "web", protocol: "HTTP", port }];
    const resources = [
      gatewayApi("Gateway", "front", { gatewayClassName: "mecha", listeners }),
      gatewayApi("HTTPRoute", "way", { parentRefs: [{ name: "front" }], rules: [{ backendRefs: [app] }] }),
    ];
    return {
      ...(await overHttp.open(plan)),
      resources: resources.join("---\n"),
      start: async () => async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/pay`);
        return { isGood: answer.status === 200, text: await answer.text() };
      },
    };
  },
};

export const routeBenches: readonly Bench[] = [httpRoute, grpcRoute, appVersion, gateway];
