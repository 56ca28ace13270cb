// FerretDB 1.24 on SQLite: MongoDB's protocol, without transactions, change streams and indexes that let expire.
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

const version = "v1.24.0";

export default {
  name: "ferretdb",
  go: {
    module: `github.com/FerretDB/FerretDB@${version}`,
    command: "./cmd/ferretdb",
    // The program looks for it, and the module has none.
    files: { "build/version/version.txt": `${version}\n` },
  },
  async launch({ folder, port, packages }) {
    return {
      command: join(packages.go, "program"),
      args: [
        ...["--handler=sqlite", `--sqlite-url=file:${folder}/`, `--listen-addr=127.0.0.1:${port}`],
        ...["--telemetry=disable", "--debug-addr=-", `--state-dir=${folder}`],
      ],
      details: { url: `mongodb://127.0.0.1:${port}` },
    };
  },
} satisfies Recipe;
