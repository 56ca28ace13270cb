import { afterEach, expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { realClock } from "../../edges/clock.ts";
import { requestToken } from "./oauth2.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** How it was asked for a token; it takes the secret in the form alone, or hangs up. */
async function start(hangsUp: boolean) {
  const styles: string[] = [];
  const server = createServer((request, response) => {
    const isBasic = request.headers.authorization !== undefined;
    styles.push(isBasic ? "basic" : "form");
    if (hangsUp) response.destroy();
    else response.writeHead(isBasic ? 401 : 200).end('{"access_token":"x"}');
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const tokenUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const client = { clientId: "a", clientSecret: "b", tokenUrl, authStyle: "auto", clock: realClock } as const;
  return { styles, token: () => requestToken(client, new URLSearchParams()) };
}

test("a server that refuses one way to say who asks is asked in the other", async () => {
  const { styles, token } = await start(false);
  expect((await token()).header).toBe("Bearer x");
  expect(styles).toEqual(["basic", "form"]);
});

test("a server that gives no answer is not asked in the other way: nobody said no", async () => {
  const { styles, token } = await start(true);
  expect(await token().catch((error: unknown) => error)).toBeInstanceOf(ServerUnavailable);
  expect(styles).not.toContain("form");
});
