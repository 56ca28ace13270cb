import type { JWTVerifyGetKey } from "jose";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import type { Clock } from "../../edges/clock.ts";
import { plainReply } from "../../net/http1/changed-request.ts";
import { fetchJson } from "../clients/fetch-json.ts";
import { Renewed } from "../clients/renewed.ts";

/** What clocks may differ by, as in Dapr. */
const clockToleranceS = 5 * 60;
const timeoutMs = 5_000;
/** A key that is not known is looked for again at most this often. */
const pauseMs = 30_000;
const freshMs = 10 * 60_000;

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
  async open({ issuer, audience, jwksURL }, { log, edges }): Promise<HttpMiddleware> {
    const jose = await import("jose");
    const { clock } = edges;
    const url = jwksURL ?? (await discover(issuer, clock));
    const keys = await Renewed.open({
      ...{ name: "the keys of the issuer", clock, log, freshMs, pauseMs },
      load: async () => jose.createLocalJWKSet((await fetchJson(url, { timeoutMs, clock })) as never),
    });
    const keyOf: JWTVerifyGetKey = async (...wanted) => {
      const known = await keys.get(() => true);
      return known(...wanted).catch(async (error: unknown) => {
        if (!(error instanceof jose.errors.JWKSNoMatchingKey)) throw error;
        return (await keys.get((current) => current !== known))(...wanted);
      });
    };
    return {
      async handle(request, next) {
        const [, token] = /^bearer +(\S+)$/i.exec(request.header("authorization") ?? "") ?? [];
        if (token === undefined) return unauthorized();
        try {
          await jose.jwtVerify(token, keyOf, { issuer, audience, clockTolerance: clockToleranceS });
        } catch (error) {
          if (!(error instanceof jose.errors.JOSEError)) {
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

async function discover(issuer: string, clock: Clock): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const configuration = await fetchJson(url, { timeoutMs, clock });
  if (configuration.issuer !== issuer)
    throw new Error(`${url} is of the issuer ${String(configuration.issuer)}, not of ${issuer}`);
  if (typeof configuration.jwks_uri !== "string") throw new Error(`${url} has no jwks_uri`);
  return configuration.jwks_uri;
}
