import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { Cleanup, eventually, freePort, mecha, startMecha } from "../mecha-process.ts";

// A new version of an app, from nothing to everything, while its caller goes on: the story that routes are for.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const app = `import http from "node:http";
http.createServer((request, reply) => reply.end(process.env.VERSION)).listen(process.env.APP_PORT, "127.0.0.1");`;

const client = createHttpClient();

test("0, 10, 50, 100 %: no call fails", async () => {
  const folder = cleanup.folder();
  const data = join(folder, "data");
  const resources = join(folder, "resources.yaml");
  writeFileSync(join(folder, "app.mjs"), app);
  const share = (percent: number): void =>
    writeFileSync(
      resources,
      `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: canary }
spec:
  parentRefs: [{ kind: App, group: mecha.run, name: orders }]
  rules:
    - matches: [{ headers: [{ name: x-canary, value: "1" }] }]
      backendRefs: [{ group: mecha.run, kind: AppVersion, name: orders-v2 }]
    - backendRefs:
        - { group: mecha.run, kind: AppVersion, name: orders-v1, weight: ${100 - percent} }
        - { group: mecha.run, kind: AppVersion, name: orders-v2, weight: ${percent} }
`,
    );
  share(0);
  const run = (...words: string[]) =>
    cleanup.process(startMecha(["run", "--data-dir", data, ...words], { folder, env: environment(words) }));
  const start = (version: string) => {
    const words = [
      "--app-id",
      "orders",
      "--app-version",
      version,
      "--labels",
      "tier=gold",
      "--app-port",
      "auto",
    ];
    return run(...words, "--", "node", "app.mjs");
  };
  const old = start("v1");
  await old.printed("dapr initialized");
  const port = await freePort();
  await run("--app-id", "shop", "-d", resources, "--dapr-http-port", String(port)).printed(
    "dapr initialized",
  );
  const answers = traffic(port);
  await eventually(() => expect(answers.of("v1")).toBeGreaterThan(50));
  const fresh = start("v2");
  await fresh.printed("dapr initialized");
  await eventually(async () => expect(await call(port, ["x-canary", "1"])).toBe("v2"));
  expect(answers.of("v2")).toBe(0);

  share(10);
  await answers.until({ v2: 30 });
  share(50);
  await answers.until({ v1: 50, v2: 50 });
  share(100);
  // From some moment on there is only the new one, and the old one can go.
  await eventually(() => answers.until({ v2: 200 }).then(() => expect(answers.of("v1")).toBe(0)));
  old.child.kill("SIGTERM");
  expect(await old.ended).toBe(0);
  await answers.until({ v2: 200 });
  expect(await answers.stop()).toEqual([]);

  const list = (await mecha(["list", "--data-dir", data, "--json"])).output;
  expect(JSON.parse(list)).toContainEqual(
    expect.objectContaining({ appId: "orders", labels: { version: "v2", tier: "gold" } }),
  );
});

function environment(words: string[]): Record<string, string> {
  const version = words[words.indexOf("--app-version") + 1] ?? "";
  return { PATH: process.env.PATH ?? "", VERSION: version };
}

async function call(port: number, headers: string[] = []): Promise<string> {
  const answer = await client.request(
    { host: "127.0.0.1", port },
    { method: "GET", target: "/v1.0/invoke/orders/method/x", headers },
  );
  const text = Buffer.from(await answer.body.bytes(10_000)).toString();
  return answer.status === 200 ? text : `${answer.status} ${text}`;
}

const callers = 4;

/** Calls without a pause by a few callers, and counts who answered. */
function traffic(port: number) {
  let counts: Record<string, number> = {};
  /** By caller: the calls since the last reset. */
  const calls = Array<number>(callers).fill(0);
  const failures: string[] = [];
  let isStopped = false;
  const of = (version: string): number => counts[version] ?? 0;
  const loop = async (caller: number): Promise<void> => {
    while (!isStopped) {
      const answer = await call(port).catch((error) => String(error));
      if (answer !== "v1" && answer !== "v2") failures.push(answer);
      counts[answer] = of(answer) + 1;
      calls[caller] = (calls[caller] ?? 0) + 1;
    }
  };
  const loops = Promise.all(calls.map((_, caller) => loop(caller)));
  return {
    of,
    /** Resolves when so many more answers have come, and nobody waits for one that was asked for before. */
    until: (wanted: Record<string, number>) => {
      counts = {};
      calls.fill(0);
      return eventually(() => {
        for (const [version, count] of Object.entries(wanted)) expect(of(version)).toBeGreaterThan(count);
        expect(Math.min(...calls)).toBeGreaterThan(1);
      });
    },
    async stop() {
      isStopped = true;
      await loops;
      return failures;
    },
  };
}
