// The yardstick of components: a Bun HTTP server that does with a server's own client what mecha does with it, and no more.
// Arguments: what (redis, postgresql, nats, kafka) and where. `POST` does it with the body and answers 204.
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Producer } from "@platformatic/kafka";
import { Redis } from "ioredis";
import postgres from "postgres";

const [what = "", where = ""] = process.argv.slice(2);

const clients: Record<string, () => Promise<(body: Buffer) => Promise<unknown>>> = {
  async redis() {
    const client = new Redis(where);
    return (body) => client.hset("bench-key", "data", body, "version", 1);
  },
  async postgresql() {
    const sql = postgres(where, { max: 4, onnotice: () => {} });
    await sql`CREATE TABLE IF NOT EXISTS bare (key text PRIMARY KEY, value bytea NOT NULL)`;
    return (body) =>
      sql`INSERT INTO bare VALUES ('bench-key', ${body}) ON CONFLICT (key) DO UPDATE SET value = excluded.value`;
  },
  async nats() {
    const connection = await connect({ servers: where });
    await (await jetstreamManager(connection)).streams.add({ name: "bare", subjects: ["bare"] });
    const client = jetstream(connection);
    return (body) => client.publish("bare", body);
  },
  async kafka() {
    const producer = new Producer({ clientId: "bare", bootstrapBrokers: [where], autocreateTopics: true });
    const send = (value: Buffer) =>
      producer.send({ messages: [{ topic: "bare", value, key: Buffer.from("k") }], acks: -1 });
    // The topic is made for the first one, which takes a while.
    await send(Buffer.from("x"));
    return send;
  },
};

const work = await clients[what]?.();
if (work === undefined) throw new Error(`there is no client for ${what}`);
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    await work(Buffer.from(await request.arrayBuffer()));
    return new Response(null, { status: 204 });
  },
});
console.log(server.port);
