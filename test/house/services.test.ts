import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { startService } from "../services.ts";

/** One request without a kept connection: its status and body. */
function fetchText(port: number): Promise<string> {
  return new Promise((done, fail) => {
    const request = get({ host: "127.0.0.1", port, agent: false }, (response) => {
      let body = `${response.statusCode} `;
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on("end", () => done(body));
    });
    request.on("error", fail);
  });
}

describe("startService()", () => {
  test("starts a server on a free port and removes all of it again", async () => {
    const nginx = await startService("nginx");
    expect(await fetchText(nginx.port)).toBe("204 ");
    const { pid, folder } = nginx;
    await nginx.stop();
    expect(existsSync(folder)).toBe(false);
    expect(() => process.kill(pid, 0)).toThrow();
  });

  test("starts it again on the same port after a kill", async () => {
    const nginx = await startService("nginx");
    await nginx.kill();
    await expect(fetchText(nginx.port)).rejects.toThrow();
    await nginx.start();
    expect(await fetchText(nginx.port)).toBe("204 ");
    await nginx.stop();
  });

  test("hands options to the recipe: nginx before an application", async () => {
    const app = createServer((_request, response) => void response.end("from the app"));
    await new Promise<void>((done) => app.listen(0, "127.0.0.1", done));
    const upstream = `127.0.0.1:${(app.address() as AddressInfo).port}`;
    const nginx = await startService("nginx", { options: { upstream } });
    expect(await fetchText(nginx.port)).toBe("200 from the app");
    await nginx.stop();
    app.closeAllConnections();
    app.close();
  });

  test("says which services there are", async () => {
    await expect(startService("no-such-server")).rejects.toThrow("no service is called no-such-server");
  });
});
