// The same checkout over other components: only the YAML is another. The broker dies once on the way too.
import { afterEach, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bunPath } from "../../scripts/install.mjs";
import { type Service, startService } from "../../scripts/services.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
}, 60_000);

interface Variant {
  /** The folder in `components`. */
  name: string;
  /** Each server and the address that its components name; the first is the broker. */
  servers: { service: string; address: string }[];
}

const variants: Variant[] = [
  {
    name: "redis-rabbitmq",
    servers: [
      { service: "rabbitmq", address: "localhost:5672" },
      { service: "redis", address: "localhost:6379" },
    ],
  },
  {
    name: "postgresql-kafka",
    servers: [
      { service: "kafka", address: "localhost:9092" },
      { service: "postgresql", address: "localhost:5432" },
    ],
  },
  { name: "nats", servers: [{ service: "nats", address: "localhost:4222" }] },
];

for (const variant of variants) {
  test(`checkout over ${variant.name} loses nothing through three kills of the runtime and one of the broker`, async () => {
    const servers = await Promise.all(variant.servers.map(({ service }) => started(service)));
    const resources = resourcesOf(variant, servers);
    const demo = Bun.spawn(
      [bunPath, join(import.meta.dirname, "demo.ts"), "--once", "--resources", resources],
      { stdout: "pipe", stderr: "ignore" },
    );
    cleanups.push(() => demo.kill());
    const output = await readAll(demo.stdout, async (text) => {
      if (!text.includes("kill -9 no. 1")) return false;
      await servers[0]?.kill();
      await servers[0]?.start();
      return true;
    });
    expect(output).toContain("orders         500 of 500");
    expect(output).toContain("reservations   500 of 500");
    expect(output).toContain("messages       500 of 500 handled");
    expect(output).toContain("lost             0   (runtime killed with -9 3 times)");
    expect(await demo.exited).toBe(0);
  }, 300_000);
}

async function started(name: string): Promise<Service> {
  const service = await startService(name);
  cleanups.push(() => service.stop());
  return service;
}

/** The components of the example, with the addresses of these servers. */
function resourcesOf({ name, servers }: Variant, running: Service[]): string {
  const folder = mkdtempSync(join(tmpdir(), "mecha-checkout-components-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(import.meta.dirname, "components", name), folder, { recursive: true });
  for (const file of readdirSync(folder)) {
    let text = readFileSync(join(folder, file), "utf8");
    for (const [index, { address }] of servers.entries())
      text = text.replaceAll(address, `127.0.0.1:${running[index]?.port}`);
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

/** Reads to the end; `act` is called with all that has come, until it says that it has acted. */
async function readAll(
  stream: ReadableStream<Uint8Array>,
  act: (text: string) => Promise<boolean>,
): Promise<string> {
  let output = "";
  let hasActed = false;
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    output += decoder.decode(chunk, { stream: true });
    hasActed ||= await act(output);
  }
  expect(hasActed).toBe(true);
  return output;
}
