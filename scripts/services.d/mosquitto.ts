// Mosquitto of the Debian release; what it keeps is on disk after each turn of its loop. Options: settings of
// mosquitto.conf; `tlsPort`, `tlsCa`, `tlsCert` and `tlsKey` (paths) add a listener that asks for certificates.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "mosquitto",
  debian: ["mosquitto"],
  programs: ["mosquitto"],
  async launch({ folder, port, options, program, isRoot }) {
    const data = join(folder, "data");
    mkdirSync(data);
    const { tlsPort, tlsCa, tlsCert, tlsKey, ...settings } = options;
    const lines = Object.entries({
      allow_anonymous: "true",
      persistence: "true",
      persistence_location: `${data}/`,
      autosave_on_changes: "true",
      autosave_interval: "1",
      max_queued_messages: "0",
      set_tcp_nodelay: "true",
      log_dest: "stderr",
      // It would become a user who may not write here.
      ...(isRoot && { user: "root" }),
      ...settings,
      listener: `${port} 127.0.0.1`,
    }).map(([name, value]) => `${name} ${value}`);
    if (tlsPort !== undefined) {
      lines.push(`listener ${tlsPort} 127.0.0.1`, `cafile ${tlsCa}`, `certfile ${tlsCert}`);
      lines.push(`keyfile ${tlsKey}`, "require_certificate true");
    }
    const config = join(folder, "mosquitto.conf");
    writeFileSync(config, `${lines.join("\n")}\n`);
    return {
      command: program("mosquitto"),
      args: ["-c", config],
      details: { url: `tcp://127.0.0.1:${port}` },
    };
  },
} satisfies Recipe;
