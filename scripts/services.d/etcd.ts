// etcd of the Debian release, one member. Options: flags of the server, such as `quota-backend-bytes`; `tlsCa`, `tlsCert`
// and `tlsKey` (paths): clients come with TLS, and with a certificate of that authority.
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "etcd",
  debian: ["etcd-server"],
  programs: ["etcd"],
  async launch({ folder, port, freePort, options, program }) {
    const { tlsCa, tlsCert, tlsKey, ...flags } = options;
    const clients = `${tlsCa === undefined ? "http" : "https"}://127.0.0.1:${port}`;
    const tls = tlsCa !== undefined && {
      "trusted-ca-file": tlsCa,
      "cert-file": tlsCert,
      "key-file": tlsKey,
      "client-cert-auth": "true",
    };
    const peers = `http://127.0.0.1:${await freePort()}`;
    const settings = {
      "data-dir": join(folder, "data"),
      "listen-client-urls": clients,
      "advertise-client-urls": clients,
      "listen-peer-urls": peers,
      "initial-advertise-peer-urls": peers,
      "initial-cluster": `default=${peers}`,
      "log-level": "error",
      ...tls,
      ...flags,
    };
    const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    return { command: program("etcd"), args, details: { url: clients } };
  },
} satisfies Recipe;
