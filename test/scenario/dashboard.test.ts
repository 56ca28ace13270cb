import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { Cleanup, eventually, freePort, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Overview {
  apps: { appId: string; isReady: boolean; components: { name: string }[] }[];
  store: { keys: number };
}

test("the dashboard shows what runs, to this machine only, and changes nothing", async () => {
  const port = await freePort();
  const data = join(cleanup.folder(), "data");
  const words = ["run", "--app-id", "orders", "--data-dir", data, "--dashboard-port", String(port)];
  const process = cleanup.process(startMecha(words));
  await process.printed(`dashboard http://127.0.0.1:${port}/`);
  const base = `http://127.0.0.1:${port}`;

  const page = await fetch(`${base}/`);
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(await page.text()).toContain("<title>mecha</title>");

  await eventually(async () => {
    const { apps } = (await (await fetch(`${base}/api/overview`)).json()) as Overview;
    expect(apps).toMatchObject([{ appId: "orders", isReady: true }]);
    expect(apps[0]?.components.map(({ name }) => name)).toContain("statestore");
  });

  const events = await fetch(`${base}/api/events`);
  const first = await events.body?.getReader().read();
  const text = Buffer.from(first?.value ?? new Uint8Array(0)).toString();
  expect((JSON.parse(text.replace(/^data: /, "")) as Overview).apps[0]?.appId).toBe("orders");

  expect((await fetch(`${base}/`, { headers: { host: "evil.example" } })).status).toBe(403);
  expect((await fetch(`${base}/api/overview`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${base}/else`)).status).toBe(404);
});
