import { afterEach, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { freePort } from "../../scripts/free-port.ts";
import { fakeApp, startMecha, until } from "../../src/testing/index.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("a signed request of GitHub's comes to the app, and nobody else's", async () => {
  const port = await freePort();
  const app = await fakeApp({ handlers: { "OPTIONS /pushes": () => ({}), "POST /pushes": () => ({}) } });
  closers.push(() => app.close());
  const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: pushes }
spec:
  type: bindings.webhook
  version: v1
  metadata:
    - { name: port, value: "${port}" }
    - { name: signature, value: github }
    - { name: secret, value: s3cret }
`;
  const mecha = await startMecha({ apps: [{ appId: "a", app }], resources });
  closers.push(() => mecha.stop());
  const post = (body: string, secret: string) => {
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    const headers = { "X-Hub-Signature-256": `sha256=${signature}`, "X-GitHub-Event": "push" };
    return fetch(`http://127.0.0.1:${port}/pushes`, { method: "POST", body, headers });
  };
  await until(async () => (await post("{}", "wrong").catch(() => undefined))?.status === 401, "it listens");
  expect((await post('{"ref":"main"}', "s3cret")).status).toBe(200);
  const posts = app.requests.filter(({ method, target }) => method === "POST" && target === "/pushes");
  expect(posts.map((one) => one.header("x-github-event"))).toEqual(["push"]);
});
