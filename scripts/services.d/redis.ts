// Redis of the Debian release; each acknowledged write is on disk. Options: any server setting, such as `requirepass`.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "redis",
  debian: ["redis-server"],
  programs: ["redis-server"],
  async launch({ folder, port, options, program }) {
    const data = join(folder, "data");
    mkdirSync(data);
    const settings = {
      port: String(port),
      bind: "127.0.0.1",
      dir: data,
      save: "",
      appendonly: "yes",
      appendfsync: "always",
      ...options,
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    return {
      command: program("redis-server"),
      args,
      details: { url: `redis://127.0.0.1:${port}` },
    };
  },
} satisfies Recipe;
