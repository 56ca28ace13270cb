// NATS of the Debian release with JetStream. Options: settings of its configuration file, such as `authorization: { token: x }`.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "nats",
  debian: ["nats-server"],
  programs: ["nats-server"],
  async launch({ folder, port, options, program }) {
    const settings = {
      listen: `"127.0.0.1:${port}"`,
      jetstream: `{ store_dir: ${JSON.stringify(join(folder, "data"))} }`,
      ...options,
    };
    const config = join(folder, "nats.conf");
    const lines = Object.entries(settings).map(([name, value]) => `${name}: ${value}`);
    writeFileSync(config, `${lines.join("\n")}\n`);
    return {
      command: program("nats-server"),
      args: ["-c", config],
      details: { url: `nats://127.0.0.1:${port}` },
    };
  },
} satisfies Recipe;
