import { afterAll, expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ComponentHost } from "../../component/component.ts";
import { realEdges } from "../../edges/edges.ts";
import credentials from "./http.oauth2clientcredentials.ts";

const right = `Basic ${btoa("mecha:right")}`;
const server = createServer(({ headers }, response) => {
  const isRight = headers.authorization === right;
  response
    .writeHead(isRight ? 200 : 401)
    .end(isRight ? '{"access_token":"x"}' : '{"error":"invalid_client"}');
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test("the token server is asked for a token: a wrong secret is told", async () => {
  const tokenURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const asked = async (clientSecret: string): Promise<unknown> => {
    const middleware = await credentials.open(
      {
        ...{ clientID: "mecha", clientSecret, scopes: "read", tokenURL, headerName: "authorization" },
        ...{ endpointParamsQuery: "", authStyle: "0", pathFilter: undefined },
      },
      { edges: realEdges() } as ComponentHost,
    );
    return middleware.ping?.().catch((error: Error) => error.message);
  };
  expect(await asked("right")).toBeUndefined();
  expect(await asked("wrong")).toContain("invalid_client");
});
