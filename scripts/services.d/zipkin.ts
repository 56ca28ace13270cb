// A real receiver for Zipkin's format. Keeps its spans in memory.
import { join } from "node:path";
import { findTool } from "../build-once.ts";
import type { Recipe } from "./recipe.ts";

const version = "3.5.1";

export default {
  name: "zipkin",
  maven: [`io.zipkin:zipkin-server:${version}:slim`],
  async launch({ port, packages }) {
    const jar = join(packages.maven, "libs", `zipkin-server-${version}-slim.jar`);
    return {
      command: findTool("java"),
      args: ["-Xmx128m", "-jar", jar],
      env: { QUERY_PORT: String(port), STORAGE_TYPE: "mem", SERVER_ADDRESS: "127.0.0.1" },
      isReady: async () => {
        const reply = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
        return reply?.ok === true;
      },
    };
  },
} satisfies Recipe;
