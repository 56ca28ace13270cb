// MariaDB of the Debian release; each commit is on disk. Options: server settings, such as `innodb-lock-wait-timeout`.
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "mariadb",
  debian: ["mariadb-server"],
  programs: ["mariadbd", "mariadb-install-db"],
  async launch({ folder, port, options, program, run, isRoot }) {
    const data = join(folder, "data");
    // The server refuses root without being told.
    const user = isRoot ? ["--user=root"] : [];
    const init = [
      "--no-defaults",
      `--datadir=${data}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
    ];
    await run(program("mariadb-install-db"), [...init, ...user]);
    const settings = {
      datadir: data,
      port: String(port),
      socket: join(folder, "s.sock"),
      "bind-address": "127.0.0.1",
      "pid-file": join(folder, "pid"),
      "innodb-buffer-pool-size": "16M",
      "innodb-flush-log-at-trx-commit": "1",
      "performance-schema": "off",
      ...options,
    };
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    return {
      command: program("mariadbd"),
      args: ["--no-defaults", ...flags, ...user],
      details: { url: `root@tcp(127.0.0.1:${port})/` },
    };
  },
} satisfies Recipe;
