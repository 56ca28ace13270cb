// PostgreSQL of the Debian release. Options: any server setting, such as `fsync` or `max_connections`.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

const versionsFolder = "/usr/lib/postgresql";

export default {
  name: "postgresql",
  debian: ["postgresql"],
  /** Found anew each time: the installation brings the folder of its version. */
  get programs() {
    return [join(programFolder(), "postgres")];
  },
  async launch({ folder, port, options, isRoot, run }) {
    const programs = programFolder();
    const data = join(folder, "data");
    const initdb = ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8"];
    mkdirSync(data, { mode: 0o700 });
    // initdb and the server refuse root.
    if (isRoot) {
      await run("chown", ["-R", "postgres", folder]);
      await run("runuser", ["-u", "postgres", "--", join(programs, "initdb"), ...initdb]);
    } else await run(join(programs, "initdb"), initdb);
    const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: folder, ...options };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    return {
      command: join(programs, "postgres"),
      args: ["-D", data, "-p", String(port), ...flags],
      user: "postgres",
      async isReady() {
        const probe = ["-q", "-h", "127.0.0.1", "-p", String(port)];
        return run(join(programs, "pg_isready"), probe).then(
          () => true,
          () => false,
        );
      },
      details: { url: `postgresql://postgres@127.0.0.1:${port}/postgres` },
    };
  },
} satisfies Recipe;

/** Debian keeps the server's programs out of PATH, one folder for each version: the newest. */
function programFolder(): string {
  let versions: string[] = [];
  try {
    versions = readdirSync(versionsFolder).toSorted((one, other) => Number(one) - Number(other));
  } catch {
    // Not installed yet.
  }
  return join(versionsFolder, versions.at(-1) ?? "none", "bin");
}
