import { afterEach, expect, test } from "bun:test";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeApp } from "../../src/testing/index.ts";
import { Cleanup, eventually, startSidecar } from "../mecha-process.ts";

// Tokens in files as Kubernetes mounts them, changed while calls, events and a schedule go on: nobody is refused.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const tick = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: tick }
spec: { type: bindings.cron, version: v1, metadata: [{ name: schedule, value: "@every 200ms" }] }
`;

/** A folder whose files are links into one of several, which is changed by one link for all of them. */
function mount(): { path(name: string): string; write(files: Record<string, string>): void } {
  const folder = cleanup.folder();
  let version = 0;
  const write = (files: Record<string, string>): void => {
    const own = `..${++version}`;
    mkdirSync(join(folder, own));
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(folder, own, name), text);
      if (version === 1) symlinkSync(join("..data", name), join(folder, name));
    }
    symlinkSync(own, join(folder, "..next"));
    renameSync(join(folder, "..next"), join(folder, "..data"));
  };
  return { path: (name) => join(folder, name), write };
}

/** What the app was shown, by path; it refuses what is not accepted. */
interface World {
  accepted: string[];
  shown: Record<string, string[]>;
  files: ReturnType<typeof mount>;
  ask(path: string, token: string): Promise<number>;
  output(): string;
}

async function start(): Promise<World> {
  const files = mount();
  files.write({ api: "api-one\n", app: "app-one\n" });
  const world = { accepted: ["app-one"], shown: {} as Record<string, string[]>, files };
  const app = await fakeApp({
    subscriptions: [{ pubsubname: "pubsub", topic: "t", route: "/event" }],
    otherwise({ target, header }) {
      const token = header("dapr-api-token") ?? "none";
      const way = target.split("?")[0] as string;
      const all = world.shown[way] ?? [];
      world.shown[way] = all;
      all.push(token);
      return { status: world.accepted.includes(token) ? 200 : 401 };
    },
  });
  cleanup.add(() => app.close());
  const resources = cleanup.folder();
  writeFileSync(join(resources, "tick.yaml"), tick);
  const env = { DAPR_API_TOKEN_FILE: files.path("api"), APP_API_TOKEN_FILE: files.path("app") };
  const words = ["--app-port", `${app.port}`];
  const started = await startSidecar({ appId: "shop", resources, data: cleanup.folder(), words, env });
  cleanup.process(started.process);
  const url = `http://127.0.0.1:${started.httpPort}/v1.0`;
  const ask = async (path: string, token: string): Promise<number> => {
    const reply = await fetch(url + path, {
      method: "POST",
      body: "{}",
      headers: { "dapr-api-token": token },
    });
    await reply.text();
    return reply.status;
  };
  await eventually(async () => expect(await ask("/publish/pubsub/t", "api-one")).toBe(204));
  return Object.assign(world, { ask, output: () => started.process.output() });
}

test("tokens of mounted files change under load, and nobody is refused", async () => {
  const world = await start();
  const { files, shown, ask } = world;
  let token = "api-one";
  const refused: number[] = [];
  let asked = 0;
  let isOver = false;
  const load = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      for (const path of ["/invoke/shop/method/call", "/publish/pubsub/t"]) {
        const status = await ask(path, token);
        asked++;
        if (status >= 400) refused.push(status);
      }
      await new Promise((later) => setTimeout(later, 5));
    }
  });

  // As docs/guide/access.md has it: both, then the callers, then the new one alone.
  files.write({ api: "api-two\napi-one\n", app: "app-one\n" });
  await eventually(async () => expect(await ask("/publish/pubsub/t", "api-two")).toBe(204));
  token = "api-two";
  world.accepted = ["app-one", "app-two"];
  files.write({ api: "api-two\n", app: "app-two\n" });
  await eventually(async () => expect(await ask("/publish/pubsub/t", "api-one")).toBe(401));
  const ways = ["/call", "/event", "/tick"];
  const last = (way: string, count: number): string[] => [...new Set(shown[way]?.slice(-count))];
  await eventually(() => {
    // Nothing with the old one is on its way any more.
    for (const way of ways) expect(last(way, way === "/tick" ? 2 : 20)).toEqual(["app-two"]);
  });
  world.accepted = ["app-two"];
  const before = asked;
  await eventually(() => expect(asked).toBeGreaterThan(before + 50));
  isOver = true;
  await Promise.all(load);

  expect(refused).toEqual([]);
  for (const way of ways) expect([...new Set(shown[way])]).toEqual(["app-one", "app-two"]);
  for (const secret of ["api-one", "api-two", "app-one", "app-two"]) {
    expect(world.output()).not.toContain(secret);
  }
}, 60_000);
