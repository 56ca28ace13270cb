import { component } from "../../component/component.ts";
import { choice, text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { changedRequest, plainReply, withoutHeaders } from "../../net/http1/changed-request.ts";
import { requestToken } from "../clients/oauth2.ts";

const styles = { "0": "auto", "1": "form", "2": "basic" } as const;
/** A token is renewed a little before it ends. */
const earlyMs = 10_000;
/** Of tokens whose server does not say how long they last. */
const lifetimeDefaultMs = 60 * 60_000;

export default component({
  type: "middleware.http.oauth2clientcredentials",
  version: "v1",
  status: "alpha",
  summary: "Puts an access token into a header, by the OAuth 2.0 client credentials grant",
  metadata: {
    clientID: text({ description: "the client's name", required: true }),
    clientSecret: text({ description: "its secret", required: true, sensitive: true }),
    scopes: text({ description: "scopes, with commas between", required: true }),
    tokenURL: text({ description: "the token endpoint", required: true }),
    headerName: text({ description: "the header that gets the token", required: true }),
    endpointParamsQuery: text({ description: "more parameters for the endpoint, as a query", default: "" }),
    authStyle: choice(["0", "1", "2"], {
      description: "how the client says who it is: 0 finds out, 1 in the form, 2 by basic authentication",
      default: "0",
    }),
    pathFilter: text({ description: "regular expression; other paths are left alone" }),
  },
  async open(options, { edges, log }): Promise<HttpMiddleware> {
    const { clientID: clientId, clientSecret, tokenURL: tokenUrl, headerName, authStyle } = options;
    const { clock } = edges;
    const client = { clientId, clientSecret, tokenUrl, authStyle: styles[authStyle], clock };
    const form = new URLSearchParams(options.endpointParamsQuery);
    form.set("grant_type", "client_credentials");
    form.set("scope", options.scopes.split(",").join(" "));
    const filter = options.pathFilter === undefined ? undefined : new RegExp(options.pathFilter);
    const token = renewed(async () => requestToken(client, form), clock.monotonicMs);
    const replaced = new Set([headerName.toLowerCase()]);
    return {
      async handle(request, next) {
        if (filter !== undefined && !filter.test(request.target.split("?", 1)[0] ?? "")) return next(request);
        let header: string;
        try {
          header = await token();
        } catch (error) {
          log.error({ error }, "no access token could be had");
          return plainReply(500, "Internal Server Error");
        }
        const rawHeaders = withoutHeaders(request.rawHeaders, replaced).concat(headerName, header);
        return next(changedRequest(request, { rawHeaders }));
      },
      async ping() {
        await token();
      },
      async close() {},
    };
  },
});

/** One request for a token at a time, whoever waits for it; the next one when its time is nearly over. */
function renewed(
  ask: () => Promise<{ header: string; expiresInS: number | undefined }>,
  nowMs: () => number,
): () => Promise<string> {
  let known: { header: string; untilMs: number } | undefined;
  let asking: Promise<string> | undefined;
  const renew = async (): Promise<string> => {
    const { header, expiresInS } = await ask();
    const lifetimeMs = expiresInS === undefined ? lifetimeDefaultMs : expiresInS * 1000;
    known = { header, untilMs: nowMs() + lifetimeMs - Math.min(earlyMs, lifetimeMs / 2) };
    return header;
  };
  return async () => {
    if (known !== undefined && nowMs() < known.untilMs) return known.header;
    asking ??= renew().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}
