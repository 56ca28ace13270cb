// The yardstick of the benches. Options: `upstream` (host:port) makes it a proxy with kept-alive connections.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LaunchContext, Recipe } from "./recipe.ts";

export default {
  name: "nginx",
  debian: ["nginx"],
  programs: ["nginx"],
  async launch(context) {
    const { folder, program } = context;
    mkdirSync(join(folder, "tmp"));
    const file = join(folder, "nginx.conf");
    writeFileSync(file, configOf(context));
    return { command: program("nginx"), args: ["-c", file, "-p", folder, "-e", join(folder, "error.log")] };
  },
} satisfies Recipe;

/** One worker, so that a request costs what one event loop spends on it; nothing is written per request. */
function configOf({ folder, port, options, isRoot }: LaunchContext): string {
  const upstream = options.upstream;
  const location =
    upstream === undefined
      ? "location / { return 204; }"
      : `location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `  ${name}_temp_path ${join(folder, "tmp", name)};`)
    .join("\n");
  return `${isRoot ? "user root;\n" : ""}daemon off;
worker_processes 1;
pid ${join(folder, "nginx.pid")};
error_log ${join(folder, "error.log")} error;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 0;
${temporary}
${upstream === undefined ? "" : `  upstream app { server ${upstream}; keepalive 64; keepalive_requests 1000000000; }\n`}  server {
    listen 127.0.0.1:${port};
    ${location}
  }
}
`;
}
