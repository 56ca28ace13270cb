import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { plainReply } from "../../net/http1/changed-request.ts";
import { fetchJson } from "../clients/fetch-json.ts";

/** What clocks may differ by, as in Dapr. */
const clockToleranceS = 5 * 60;
const timeoutMs = 5_000;
/** A key that is not known is looked for again at most this often. */
const cooldownMs = 30_000;
const keysMaxAgeMs = 10 * 60_000;

export default component({
  type: "middleware.http.bearer",
  version: "v1",
  status: "stable",
  summary: "Lets in who shows a JSON Web Token of an OpenID Connect issuer",
  package: "jose",
  metadata: {
    issuer: text({ description: "the token's `iss`", required: true, aliases: ["issuerURL"] }),
    audience: text({
      description: "what the token's `aud` has to hold",
      required: true,
      aliases: ["clientID"],
    }),
    jwksURL: text({
      description: "address of the issuer's keys; by default the issuer's OpenID configuration names it",
    }),
  },
  async open({ issuer, audience, jwksURL }, { log }): Promise<HttpMiddleware> {
    const { createRemoteJWKSet, errors, jwtVerify } = await import("jose");
    const address = new URL(jwksURL ?? (await discover(issuer)));
    const keys = createRemoteJWKSet(address, {
      timeoutDuration: timeoutMs,
      cooldownDuration: cooldownMs,
      cacheMaxAge: keysMaxAgeMs,
    });
    await keys.reload();
    return {
      async handle(request, next) {
        const [, token] = /^bearer +(\S+)$/i.exec(request.header("authorization") ?? "") ?? [];
        if (token === undefined) return unauthorized();
        try {
          await jwtVerify(token, keys, { issuer, audience, clockTolerance: clockToleranceS });
        } catch (error) {
          if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) {
            log.error({ error }, "the keys of the issuer could not be read");
            return plainReply(500, "Internal Server Error");
          }
          log.debug({ error }, "a bearer token was refused");
          return unauthorized();
        }
        return next(request);
      },
      async close() {},
    };
  },
});

function unauthorized() {
  const reply = plainReply(401, "Unauthorized");
  reply.headers.push("WWW-Authenticate", "Bearer");
  return reply;
}

async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const configuration = await fetchJson(url, { timeoutMs });
  if (configuration.issuer !== issuer)
    throw new Error(`${url} is of the issuer ${String(configuration.issuer)}, not of ${issuer}`);
  if (typeof configuration.jwks_uri !== "string") throw new Error(`${url} has no jwks_uri`);
  return configuration.jwks_uri;
}
