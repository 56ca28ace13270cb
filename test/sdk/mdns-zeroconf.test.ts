import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseOptions } from "../../src/component/parse-options.ts";
import mdns from "../../src/components/nameresolution/mdns.ts";
import { componentHost, eventually } from "../contract/component-host.ts";
import { addressesOf, wanted } from "../contract/name-resolver.ts";
import { pythonVenv } from "./toolchain.ts";

// nameresolution.mdns beside another implementation of multicast DNS and of its service discovery: python-zeroconf, on the
// standard port of the loopback interface.

interface Told {
  isReady?: boolean;
  came?: string;
  went?: string;
  addresses?: string[];
  port?: number;
  texts?: Record<string, string>;
}

const folder = join(import.meta.dirname, "mdns");
const shopPort = 7123;
const told: Told[] = [];
let other: ChildProcess;
beforeAll(async () => {
  const python = await pythonVenv(join(folder, "requirements.txt"));
  const program = [join(folder, "browse.py"), String(shopPort)];
  other = spawn(python, program, { stdio: ["pipe", "pipe", "inherit"] });
  createInterface({ input: other.stdout as NonNullable<typeof other.stdout> }).on("line", (line) =>
    told.push(JSON.parse(line)),
  );
  await eventually("it is there", () => told.some(({ isReady }) => isReady), 30_000);
}, 300_000);
afterAll(async () => {
  const ended = new Promise((done) => other.once("exit", done));
  other.stdin?.end();
  await ended;
}, 30_000);

async function open() {
  const { options } = parseOptions(mdns, new Map([["interfaces", "127.0.0.1"]]));
  return mdns.open(options as Parameters<typeof mdns.open>[0], componentHost());
}

test("python-zeroconf sees a runtime come and go", async () => {
  const resolver = await open();
  const place = { host: "127.0.0.1", port: 7001, httpPort: 1, appPort: 1 };
  const announcement = await resolver.announce?.({ appId: "orders", namespace: "default", ...place });
  const isOrders = (name = "") => /^orders-[0-9a-f]{16}\._mecha\._tcp\.local\.$/.test(name);
  await eventually("it came", () => told.some(({ came }) => isOrders(came)));
  expect(told.find(({ came }) => isOrders(came))).toMatchObject({
    ...{ addresses: ["127.0.0.1"], port: 7001, texts: { app: "orders", ns: "default" } },
  });
  await announcement?.close();
  await eventually("it went", () => told.some(({ went }) => isOrders(went)));
  await resolver.close();
}, 60_000);

test("an app that python-zeroconf announces is found by asking for it", async () => {
  const resolver = await open();
  // Its own announcements are long over.
  const found = async () => (await addressesOf(resolver, wanted("shop"))).join() === `127.0.0.1:${shopPort}`;
  await eventually("it is found", found);
  await resolver.close();
}, 60_000);
