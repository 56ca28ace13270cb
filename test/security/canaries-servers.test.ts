// Wrong passwords at real servers: what they answer quotes none, and neither does anything that mecha says of it.
import { afterAll, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mecha } from "../mecha-process.ts";
import { startService } from "../services.ts";
import { type CanaryComponent, canaryComponents } from "./canary-components.ts";
import {
  addComponent,
  ask,
  asks,
  cleanup,
  dapr,
  filesIn,
  look,
  openNeighbours,
  start,
  World,
} from "./canary-world.ts";

afterAll(() => cleanup.run());

interface Guarded {
  name: string;
  /** Types of components that log in there. */
  types: RegExp;
  /** In the words of the server. */
  refusal: RegExp;
  open(): Promise<{ port: number }>;
}

const password = "the-right-one";

/** Servers that want a password which nobody here has. */
const servers: readonly Guarded[] = [
  {
    name: "redis",
    types: /^\w+\.redis$/,
    refusal: /WRONGPASS/,
    open: () => startService("redis", { options: { requirepass: password } }),
  },
  {
    name: "postgresql",
    types: /^(state|bindings|configuration|pubsub)\.postgres(ql)?$/,
    refusal: /password authentication failed for user/,
    async open() {
      const folder = cleanup.folder();
      // The server runs as another user.
      chmodSync(folder, 0o755);
      const rules = join(folder, "pg_hba.conf");
      writeFileSync(rules, "host all all 127.0.0.1/32 scram-sha-256\n");
      return startService("postgresql", { options: { hba_file: rules } });
    },
  },
  {
    name: "rabbitmq",
    types: /^(pubsub|bindings)\.rabbitmq$/,
    refusal: /ACCESS.REFUSED/i,
    open: () => startService("rabbitmq"),
  },
  {
    name: "nats",
    types: /^\w+\.(nats|jetstream)$/,
    refusal: /authorization violation/i,
    open: () => startService("nats", { options: { authorization: `{ token: ${password} }` } }),
  },
];

function callsOf(components: readonly CanaryComponent[]): [line: string, body?: object | string][] {
  return components.flatMap(({ name, type }) => asks[type.split(".", 1)[0] ?? ""]?.(name) ?? []);
}

/** Components of each type with each way to log in, a server's together with what it says of wrong passwords. */
async function componentsOf(world: World): Promise<CanaryComponent[]> {
  const made = servers.map(async ({ name, types, open }) => {
    const { port } = await open();
    const all = await canaryComponents(world.canaries, { host: "127.0.0.1", port });
    const own = all.filter(({ type, isWrong }) => types.test(type) && !isWrong);
    expect(own.length).toBeGreaterThan(2);
    return own.map((one) => ({ ...one, name: `${name}-${one.name}` }));
  });
  return (await Promise.all(made)).flat();
}

test("no wrong password at a real server is shown", async () => {
  const world = new World();
  const components = await componentsOf(world);
  for (const one of components) addComponent(world, one);
  const { collector, app } = await openNeighbours(world, components);
  world.secrets.api = world.canaries.text("API token");
  const config = join(world.folder, "config.yaml");
  const otel = { endpointAddress: `127.0.0.1:${collector}`, isSecure: false, protocol: "http" };
  const spec = { tracing: { samplingRate: "1", otel } };
  writeFileSync(
    config,
    JSON.stringify({ apiVersion: dapr, kind: "Configuration", metadata: { name: "c" }, spec }),
  );
  const env = { DAPR_API_TOKEN: world.secrets.api };
  const { started, ports } = await start(world, app, { env, config, words: [] });
  const calls = callsOf(components);
  await Promise.all(calls.map(([line, body]) => ask(world, `http://127.0.0.1:${ports.http}`, line, body)));
  await look(world, started, ports);
  const resources = join(world.folder, "resources");
  const home = { MECHA_HOME: world.data, HOME: world.folder };
  const { output } = await mecha(["doctor", resources, "--timeout", "5s"], {
    env: home,
    folder: world.folder,
  });
  world.say("mecha doctor of the resources", output);
  started.child.kill("SIGTERM");
  await started.ended;
  world.say("the log", started.output());
  for (const path of filesIn(world.data)) world.say(path, readFileSync(path, "latin1"));

  for (const { refusal } of servers) {
    expect(output).toMatch(refusal);
    expect(started.output()).toMatch(refusal);
  }
  expect(world.answers).toBe(calls.length);
  expect(world.said.map(([place]) => place)).toContain("the traces");
  expect([...new Set(world.hits())].slice(0, 40)).toEqual([]);
}, 120_000);
