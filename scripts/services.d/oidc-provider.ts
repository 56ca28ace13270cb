// A certified OpenID Connect provider. One client, `mecha` with the secret `secret`; access tokens are JSON Web Tokens
// for the audience `orders`. Options: `redirect`, the address that the client may be sent back to.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "../build-once.ts";
import type { Recipe } from "./recipe.ts";

export default {
  name: "oidc-provider",
  npm: ["oidc-provider@9.13.3"],
  async launch({ folder, port, options, packages }) {
    const issuer = `http://127.0.0.1:${port}`;
    const file = join(folder, "server.mjs");
    const entry = join(packages.npm, "node_modules", "oidc-provider", "lib", "index.js");
    writeFileSync(file, program(entry, issuer, options.redirect ?? `${issuer}/none`));
    return {
      command: findTool("node"),
      args: [file, String(port)],
      isReady: async () => {
        const reply = await fetch(`${issuer}/.well-known/openid-configuration`).catch(() => undefined);
        return reply?.ok === true;
      },
      details: { issuer },
    };
  },
} satisfies Recipe;

function program(entry: string, issuer: string, redirect: string): string {
  return `import Provider from ${JSON.stringify(entry)};
const resource = { scope: "read", audience: "orders", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
const provider = new Provider(${JSON.stringify(issuer)}, {
  clients: [{
    client_id: "mecha",
    client_secret: "secret",
    grant_types: ["authorization_code", "client_credentials"],
    redirect_uris: [${JSON.stringify(redirect)}],
  }],
  pkce: { required: () => false },
  scopes: ["openid", "read"],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:orders",
      useGrantedResource: () => true,
      getResourceServerInfo: () => resource,
    },
  },
});
provider.listen(Number(process.argv[2]), "127.0.0.1");
`;
}
