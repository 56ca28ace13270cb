// The SDK program in JavaScript, on @dapr/dapr as npm ships it. See ../README.md.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CommunicationProtocolEnum, DaprClient, DaprServer, HttpMethod } from "@dapr/dapr";

const [role] = process.argv.slice(2);
const quiet = { log() {}, info() {}, warn() {}, error() {}, verbose() {}, debug() {} };
const logger = { service: quiet };
if (role === "http") await serve(CommunicationProtocolEnum.HTTP);
else if (role === "grpc") await serve(CommunicationProtocolEnum.GRPC);
else await runChecks();

async function serve(communicationProtocol) {
  const isHttp = communicationProtocol === CommunicationProtocolEnum.HTTP;
  const server = new DaprServer({
    serverHost: "127.0.0.1",
    serverPort: process.env.APP_PORT,
    communicationProtocol,
    clientOptions: {
      daprHost: "127.0.0.1",
      daprPort: isHttp ? process.env.DAPR_HTTP_PORT : process.env.DAPR_GRPC_PORT,
      communicationProtocol,
      logger,
    },
    logger,
  });
  const received = [];
  const keep = (route) => async (data) => void received.push({ route, data });
  await server.invoker.listen("echo", async ({ body }) => (isHttp ? JSON.parse(body) : body), {
    method: HttpMethod.POST,
  });
  await server.invoker.listen("received", async () => received, {
    method: isHttp ? HttpMethod.GET : HttpMethod.POST,
  });
  await server.pubsub.subscribe("pubsub", "plain", keep("plain"));
  await server.pubsub.subscribeWithOptions("pubsub", "routed", {
    route: { rules: [{ match: 'event.type == "special"', path: "/special" }], default: "/default" },
  });
  server.pubsub.subscribeToRoute("pubsub", "routed", "special", keep("special"));
  server.pubsub.subscribeToRoute("pubsub", "routed", "default", keep("default"));
  if (isHttp) {
    await server.pubsub.subscribeBulk("pubsub", "bulk", keep("bulk"), {
      maxMessagesCount: 10,
      maxAwaitDurationMs: 100,
    });
    // The express server of the SDK answers errors itself: a plain route gives a status of our own.
    server.daprServer
      .getServer?.()
      .post?.("/fail", (_request, response) => response.status(418).send("short and stout"));
  }
  await server.start();
}

async function runChecks() {
  const http = new DaprClient({ daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT, logger });
  const grpc = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: process.env.DAPR_GRPC_PORT,
    communicationProtocol: CommunicationProtocolEnum.GRPC,
    logger,
  });
  for (const [protocol, client] of [
    ["http", http],
    ["grpc", grpc],
  ]) {
    await check(`state-${protocol}`, () => state(client, protocol));
    await check(`state-etag-${protocol}`, () => stateEtag(client, protocol));
    await check(`state-transaction-${protocol}`, () => stateTransaction(client, protocol));
    await check(`publish-${protocol}`, () => publish(client, http, protocol));
    await check(`publish-bulk-${protocol}`, () => publishBulk(client, http, protocol));
    await check(`secrets-${protocol}`, () => secrets(client));
    await check(`metadata-${protocol}`, () => metadata(client, protocol));
  }
  await check("state-query", () => stateQuery(http));
  await check("publish-routing", () => publishRouting(http));
  await check("invoke-http", async () => {
    const reply = await http.invoker.invoke("http-app", "echo", HttpMethod.POST, { n: 1 });
    same(reply, { n: 1 });
  });
  await check("invoke-error", () => invokeError(http));
  await check("invoke-grpc", async () => {
    const reply = await grpc.invoker.invoke("grpc-app", "echo", HttpMethod.POST, "hello");
    same(String(reply), "hello");
  });
  await check("configuration", async () => {
    const { items } = await grpc.configuration.get("configstore", ["sdk-item"]);
    same(items["sdk-item"].value, "one");
  });
  await check("configuration-subscribe", () => configurationSubscribe(grpc));
  await check("lock-http", () => lock(http, "http"));
  await check("lock-grpc", () => lock(grpc, "grpc"));
  await check("crypto", () => encryption(grpc));
  await Promise.all([http.stop(), grpc.stop()]);
  process.exit(0);
}

async function state(client, protocol) {
  const key = `js-${protocol}`;
  const saved = await client.state.save("statestore", [
    { key, value: { text: "käse", n: 1 } },
    { key: `${key}-2`, value: "two" },
  ]);
  if (saved.error) throw saved.error;
  same(await client.state.get("statestore", key), { text: "käse", n: 1 });
  const bulk = await client.state.getBulk("statestore", [key, `${key}-2`, `${key}-none`]);
  same(bulk.find((item) => item.key === `${key}-2`).data, "two");
  await client.state.delete("statestore", key);
  const gone = await client.state.get("statestore", key);
  if (gone !== "" && gone !== undefined && gone !== null)
    throw new Error(`deleted key still reads ${JSON.stringify(gone)}`);
}

async function stateEtag(client, protocol) {
  const key = `js-etag-${protocol}`;
  await client.state.save("statestore", [{ key, value: 1 }]);
  const [{ etag }] = await client.state.getBulk("statestore", [key]);
  if (!etag) throw new Error("no etag came back");
  const options = { concurrency: protocol === "http" ? "first-write" : 1 };
  const first = await client.state.save("statestore", [{ key, value: 2, etag, options }]);
  if (first.error) throw first.error;
  const stale = await client.state
    .save("statestore", [{ key, value: 3, etag, options }])
    .catch((error) => ({ error }));
  if (!stale.error) throw new Error("a stale etag was taken");
  same(Number(await client.state.get("statestore", key)), 2);
}

async function stateTransaction(client, protocol) {
  const key = `js-tx-${protocol}`;
  await client.state.save("statestore", [{ key: `${key}-old`, value: 1 }]);
  await client.state.transaction("statestore", [
    { operation: "upsert", request: { key: `${key}-new`, value: "new" } },
    { operation: "delete", request: { key: `${key}-old` } },
  ]);
  same(await client.state.get("statestore", `${key}-new`), "new");
  const gone = await client.state.get("statestore", `${key}-old`);
  if (gone !== "" && gone !== undefined && gone !== null) throw new Error("the deleted key is still there");
}

async function stateQuery(client) {
  const values = [1, 2, 3].map((n) => ({ key: `js-query-${n}`, value: { group: "js-query", n } }));
  await client.state.save("statestore", values);
  const { results } = await client.state.query("statestore", {
    filter: { EQ: { group: "js-query" } },
    sort: [{ key: "n", order: "DESC" }],
    page: { limit: 2 },
  });
  same(
    results.map((result) => result.data.n),
    [3, 2],
  );
}

async function publish(client, http, protocol) {
  const id = `js-${protocol}-${Date.now()}`;
  const sent = await client.pubsub.publish("pubsub", "plain", { id });
  if (sent.error) throw sent.error;
  await arrived(http, "http-app", (event) => event.route === "plain" && event.data?.id === id);
  await arrived(http, "grpc-app", (event) => event.route === "plain" && event.data?.id === id);
}

async function publishRouting(client) {
  const id = `js-routing-${Date.now()}`;
  await client.pubsub.publish(
    "pubsub",
    "routed",
    { id, kind: "s" },
    { metadata: { "cloudevent.type": "special" } },
  );
  await client.pubsub.publish("pubsub", "routed", { id, kind: "d" });
  for (const app of ["http-app", "grpc-app"]) {
    await arrived(
      client,
      app,
      (event) => event.route === "special" && event.data?.id === id && event.data.kind === "s",
    );
    await arrived(
      client,
      app,
      (event) => event.route === "default" && event.data?.id === id && event.data.kind === "d",
    );
  }
}

async function publishBulk(client, http, protocol) {
  const id = `js-bulk-${protocol}-${Date.now()}`;
  const events = [1, 2, 3].map((n) => ({ id, n }));
  const { failedMessages } = await client.pubsub.publishBulk("pubsub", "bulk", events);
  same(failedMessages.length, 0);
  for (const { n } of events) {
    await arrived(
      http,
      "http-app",
      (event) =>
        event.route === "bulk" &&
        JSON.stringify(event.data).includes(`"n":${n}`) &&
        JSON.stringify(event.data).includes(id),
    );
  }
}

async function secrets(client) {
  same(await client.secret.get("filesecrets", "sdk-secret"), { "sdk-secret": "hush" });
  const all = await client.secret.getBulk("filesecrets");
  same(all["nested:inner"], { "nested:inner": "deep" });
}

async function metadata(client, protocol) {
  await client.metadata.set(`js-${protocol}`, "seen");
  const found = await client.metadata.get();
  same(found.id, "client");
  const components = found.components ?? found.registeredComponents;
  if (!components.some((each) => each.name === "statestore")) throw new Error("statestore is not listed");
}

async function invokeError(client) {
  try {
    await client.invoker.invoke("http-app", "no-such-method", HttpMethod.POST, {});
  } catch (error) {
    if (String(error.message).includes("404")) return;
    throw error;
  }
  throw new Error("an unknown method was answered");
}

async function configurationSubscribe(client) {
  let seen;
  const stream = await client.configuration.subscribeWithKeys(
    "configstore",
    ["sdk-live"],
    async ({ items }) => {
      seen = items["sdk-live"]?.value ?? seen;
    },
  );
  process.stdout.write("want sdk-live\n");
  await until("the changed item", async () => seen === "after");
  stream.stop();
}

async function lock(client, protocol) {
  const resource = `js-lock-${protocol}`;
  same((await client.lock.lock("lockstore", resource, "a", 60)).success, true);
  same((await client.lock.lock("lockstore", resource, "b", 60)).success, false);
  same((await client.lock.unlock("lockstore", resource, "b")).status, 2);
  same((await client.lock.unlock("lockstore", resource, "a")).status, 0);
  same((await client.lock.unlock("lockstore", resource, "a")).status, 1);
}

async function arrived(client, app, isIt) {
  await until(`the event at ${app}`, async () => {
    const events = await receivedBy(client, app);
    const count = events.filter(isIt).length;
    if (count > 1) throw new Error(`${app} got the event ${count} times`);
    return count === 1;
  });
}

/** The SDK sends nothing at all for nothing, so the smallest document has a byte. */
async function encryption(client) {
  const key = { componentName: "vault", keyName: "sdk-key" };
  for (const size of [1, 65_535, 65_536, 65_537, 10 << 20]) {
    const plaintext = randomBytes(size);
    const document = await client.crypto.encrypt(plaintext, { ...key, keyWrapAlgorithm: "AES" });
    const found = await client.crypto.decrypt(document, key);
    if (!found.equals(plaintext)) throw new Error(`${size} bytes came back as ${found.length} others`);
    document[document.length - 1] ^= 1;
    const failure = await client.crypto.decrypt(document, key).catch((error) => error);
    if (!String(failure?.message).includes("failed to decrypt segment"))
      throw new Error(`a changed document of ${size} bytes: ${failure?.message ?? "was taken"}`);
  }
}

async function receivedBy(client, app) {
  const verb = app === "http-app" ? HttpMethod.GET : HttpMethod.POST;
  const reply = await client.invoker.invoke(
    app,
    "received",
    verb,
    verb === HttpMethod.GET ? undefined : "{}",
  );
  return typeof reply === "string" ? JSON.parse(reply) : reply;
}

async function until(what, check) {
  const deadline = Date.now() + 15_000;
  while (Date.now() < deadline) {
    if (await check()) return;
    await sleep(50);
  }
  throw new Error(`waited 15 s for ${what}`);
}

function same(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`got ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
  }
}

async function check(name, work) {
  try {
    await work();
    process.stdout.write(`ok ${name}\n`);
  } catch (error) {
    process.stdout.write(
      `not ok ${name}: ${String(error?.message ?? error)
        .replace(/\n/g, " ")
        .slice(0, 500)}\n`,
    );
  }
}
