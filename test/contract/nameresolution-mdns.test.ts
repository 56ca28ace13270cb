import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import dgram from "node:dgram";
import { type Answer, decode, encode, type Packet } from "dns-packet";
import type { NameResolver } from "../../src/component/name-resolver.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import mdns from "../../src/components/nameresolution/mdns.ts";
import { type Edges, realEdges } from "../../src/edges/edges.ts";
import { componentHost, eventually } from "./component-host.ts";
import { freeUdpPort } from "./free-udp-port.ts";
import { addressesOf, nameResolverContract, wanted } from "./name-resolver.ts";

// On the loopback interface and a port of its own: nothing of this leaves the machine.

setDefaultTimeout(30_000);

type Fields = Record<string, string>;
function openWith(fields: Fields, edges: Edges = realEdges()): Promise<NameResolver> {
  const { options } = parseOptions(mdns, new Map(Object.entries(fields)));
  return mdns.open(options as Parameters<typeof mdns.open>[0], componentHost({ edges }));
}
const at = (port: number): Fields => ({ interfaces: "127.0.0.1", port: String(port), ttl: "1s" });

nameResolverContract("nameresolution.mdns", { announces: true }, async () => {
  const port = await freeUdpPort();
  return { join: (edges) => openWith(at(port), edges), close: async () => {} };
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(fields: Fields): Promise<NameResolver> {
  const resolver = await openWith(fields);
  closers.push(() => resolver.close());
  return resolver;
}

/** Somebody else on the network. */
async function stranger(port: number) {
  const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((done) => socket.bind(port, "0.0.0.0", () => done()));
  socket.addMembership("224.0.0.251", "127.0.0.1");
  socket.setMulticastInterface("127.0.0.1");
  const packets: Packet[] = [];
  socket.on("message", (bytes) => {
    try {
      packets.push(decode(Buffer.from(bytes)));
    } catch {
      // What it sends itself comes back, too, and is not always a packet.
    }
  });
  closers.push(() => socket.close());
  return {
    packets,
    answers: () => packets.filter(({ type }) => type === "response").flatMap(({ answers = [] }) => answers),
    send: (packet: Packet | Uint8Array) =>
      socket.send(packet instanceof Uint8Array ? packet : encode(packet), port, "224.0.0.251"),
  };
}
const self = {
  appId: "orders",
  namespace: "default",
  host: "127.0.0.1",
  port: 7001,
  httpPort: 1,
  appPort: 1,
};
const type = "_mecha._tcp.local";
const subtype = `_orders._sub.${type}`;
const records = (instance: string, host: string, { ttl = 10, port = 7 } = {}): Answer[] => [
  { type: "PTR", name: type, ttl, data: `${instance}.${type}` },
  { type: "SRV", name: `${instance}.${type}`, ttl, data: { port, target: `${instance}.local` } },
  { type: "TXT", name: `${instance}.${type}`, ttl, data: ["app=orders", "ns=default"] },
  { type: "A", name: `${instance}.local`, ttl, data: host },
];

test("an announcement has the records of a service, and is taken back with a life of 0", async () => {
  const port = await freeUdpPort();
  const other = await stranger(port);
  const resolver = await openWith(at(port));
  const announcement = await resolver.announce?.(self);
  await eventually("it is heard", () => other.answers().length >= 6);
  const [ptr, sub, srv, txt, a, types] = other.answers();
  const instance = String((ptr as { data?: unknown }).data);
  expect(ptr).toMatchObject({ type: "PTR", name: type, ttl: 1 });
  expect(instance).toMatch(/^orders-[0-9a-f]{16}\._mecha\._tcp\.local$/);
  expect(sub).toMatchObject({ type: "PTR", name: subtype, data: instance });
  expect(types).toMatchObject({ name: "_services._dns-sd._udp.local", data: type });
  expect(srv).toMatchObject({ type: "SRV", name: instance, data: { port: 7001 } });
  expect((txt as { data: Buffer[] }).data.map(String)).toEqual(["app=orders", "ns=default"]);
  expect(a).toMatchObject({ type: "A", data: "127.0.0.1" });
  await announcement?.close();
  await resolver.close();
  await eventually("it is taken back", () =>
    other.answers().some((answer) => "ttl" in answer && answer.ttl === 0),
  );
});

test("a question is answered to the group, and many of them once", async () => {
  const port = await freeUdpPort();
  const other = await stranger(port);
  const resolver = await open({ ...at(port), ttl: "60s" });
  await resolver.announce?.(self);
  await eventually("the announcements are over", () => other.answers().length >= 12);
  other.packets.length = 0;
  for (let times = 0; times < 50; times++)
    other.send({ type: "query", questions: [{ type: "PTR", name: subtype.toUpperCase() }] });
  await eventually("it is answered", () => other.answers().length > 0);
  expect(other.answers().length).toBeLessThan(6 * 50);
  other.packets.length = 0;
  other.send({ type: "query", questions: [{ type: "PTR", name: "_shop._sub._mecha._tcp.local" }] });
  other.send({ type: "query", questions: [{ type: "A", name: type }] });
  await eventually("they are heard", () => other.packets.length >= 2);
  expect(other.answers()).toEqual([]);
});

test("a question of plain DNS is answered to whoever asked", async () => {
  const port = await freeUdpPort();
  const resolver = await open(at(port));
  await resolver.announce?.(self);
  const socket = dgram.createSocket("udp4");
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", () => done()));
  closers.push(() => socket.close());
  const answer = new Promise<Packet>((done) =>
    socket.once("message", (bytes) => done(decode(Buffer.from(bytes)))),
  );
  const questions: Packet["questions"] = [{ type: "PTR", name: subtype }];
  socket.send(encode({ type: "query", id: 4711, questions }), port, "127.0.0.1");
  expect(await answer).toMatchObject({ id: 4711, questions: [{ name: subtype }] });
});

test("what others announce is found, and forgotten as they say", async () => {
  const port = await freeUdpPort();
  const other = await stranger(port);
  const resolver = await open(at(port));
  other.send({ type: "response", answers: [...records("a", "10.0.0.1"), ...records("b", "10.0.0.2")] });
  await eventually("both", async () => (await addressesOf(resolver, wanted("orders"))).length === 2);
  // The same once more, by another interface.
  other.send({ type: "response", answers: records("c", "10.0.0.1") });
  other.send({ type: "response", answers: records("b", "10.0.0.2", { ttl: 0 }) });
  await eventually(
    "one",
    async () => (await addressesOf(resolver, wanted("orders"))).join() === "10.0.0.1:7",
  );
});

test("a first announcement that was missed is asked for", async () => {
  const port = await freeUdpPort();
  const one = await open({ ...at(port), ttl: "60s" });
  await one.announce?.(self);
  const late = await open(at(port));
  expect(await addressesOf(late, wanted("orders"))).toEqual(["127.0.0.1:7001"]);
});

test("bytes that are no packet, and packets that make no sense, change nothing", async () => {
  const port = await freeUdpPort();
  const other = await stranger(port);
  const resolver = await open(at(port));
  const fine = encode({ type: "response", answers: records("a", "10.0.0.1") });
  for (let size = 0; size < 200; size++) {
    other.send(fine.subarray(0, size % fine.length));
    other.send(crypto.getRandomValues(new Uint8Array(size)));
    // A socket has room for some hundred packets that nobody has read.
    if (size % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  other.send(new Uint8Array(2000));
  other.send({ type: "response", answers: records("b", "10.0.0.2", { port: 0 }) });
  other.send({ type: "response", answers: records("c", "10.0.0.3").slice(0, 2) });
  other.send({ type: "response", answers: records("e", "10.0.0.5").filter(({ type }) => type !== "TXT") });
  await eventually("the good one", async () => {
    other.send({ type: "response", answers: records("d", "10.0.0.4") });
    return (await addressesOf(resolver, wanted("orders"))).includes("10.0.0.4:7");
  });
  const found = await addressesOf(resolver, wanted("orders"));
  expect(found.filter((address) => !/^10\.0\.0\.[14]:7$/.test(address))).toEqual([]);
});

const refused: [string, Fields, string][] = [
  ["an interface that is none", { interfaces: "192.0.2.1", port: "45353" }, "no interface can be used"],
  ["parts of a second", { ttl: "1500ms" }, "fractions of seconds"],
  ["a port that is none", { port: "0" }, "1 to 65535"],
];
test.each(refused)("nameresolution.mdns refuses %s", async (_, fields, message) => {
  const error = await Promise.resolve()
    .then(() => openWith(fields))
    .catch((why: Error) => why);
  expect((error as Error).message).toContain(message);
});

test("nameresolution.mdns refuses an app whose id is no part of a name", async () => {
  const resolver = await open(at(await freeUdpPort()));
  for (const appId of ["a b", "a".repeat(64), ""]) {
    const error = await Promise.resolve(resolver.announce?.({ ...self, appId })).catch((why: Error) => why);
    expect((error as Error).message).toContain("can not be a name");
  }
});
