// RabbitMQ of the Debian release. Options: settings of rabbitmq.conf, such as `heartbeat`; `tlsPort`, `tlsCa`, `tlsCert`
// and `tlsKey` (paths) add a listener with TLS; `plugins` are enabled (names with commas).
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

/** Not the wrapper in /usr/sbin, which changes the user. */
const server = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** The name server of Erlang outlives who started it as a daemon: here it is a child that ends with the broker. */
const script = `
epmd -port "$ERL_EPMD_PORT" & names=$!
"${server}" & broker=$!
trap 'kill -TERM $broker 2>/dev/null' TERM INT
wait $broker
wait $broker
kill $names
`;

export default {
  name: "rabbitmq",
  debian: ["rabbitmq-server"],
  programs: [server, "epmd"],
  async launch({ folder, port, options, freePort }) {
    const data = join(folder, "data");
    mkdirSync(data);
    const { tlsPort, tlsCa, tlsCert, tlsKey, plugins = "", ...settings } = options;
    const tls =
      tlsPort === undefined
        ? {}
        : {
            "listeners.ssl.default": `127.0.0.1:${tlsPort}`,
            "ssl_options.cacertfile": String(tlsCa),
            "ssl_options.certfile": String(tlsCert),
            "ssl_options.keyfile": String(tlsKey),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
          };
    const lines = Object.entries({ ...tls, ...settings }).map(([name, value]) => `${name} = ${value}`);
    const config = join(folder, "rabbitmq.conf");
    writeFileSync(config, `${lines.join("\n")}\n`);
    writeFileSync(join(folder, "plugins"), `[${plugins}].\n`);
    writeFileSync(join(folder, "environment.conf"), "");
    const [distribution, names] = [await freePort(), await freePort()];
    return {
      command: "/bin/sh",
      args: ["-c", script],
      env: {
        HOME: folder,
        ERL_EPMD_PORT: String(names),
        ERL_EPMD_ADDRESS: "127.0.0.1",
        RABBITMQ_NODENAME: `mecha${port}@localhost`,
        RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(distribution),
        RABBITMQ_MNESIA_BASE: data,
        RABBITMQ_LOG_BASE: folder,
        RABBITMQ_LOGS: "-",
        RABBITMQ_PID_FILE: join(folder, "pid"),
        RABBITMQ_CONFIG_FILE: config,
        RABBITMQ_CONF_ENV_FILE: join(folder, "environment.conf"),
        RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
      },
      details: { url: `amqp://guest:guest@127.0.0.1:${port}` },
    };
  },
} satisfies Recipe;
