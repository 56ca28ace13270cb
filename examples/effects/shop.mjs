// Takes orders. It writes nothing, publishes nothing and calls nobody: it answers with what should happen, and the
// runtime commits all of it, with the record of the order, at once. Plain Node, no SDK.
import { createServer } from "node:http";

const runtime = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0`;

const server = createServer(async (request, response) => {
  if (request.method !== "POST") return response.writeHead(404).end();
  const body = JSON.parse(await text(request));
  if (request.url === "/order") return answer(response, await order(body));
  if (request.url === "/paid") return answer(response, await paid(body.data));
  response.writeHead(404).end();
});
server.listen(Number(process.env.APP_PORT), "127.0.0.1");

async function order({ id, item, mail }) {
  const stock = await read(`stock-${item}`, 10);
  if (stock.value === 0) return { reply: { status: 409, body: { error: `no ${item} left` } } };
  return {
    state: [
      { key: `order-${id}`, value: { item, mail, status: "accepted" } },
      // Fails the whole when somebody else took one meanwhile; the caller comes again.
      { key: `stock-${item}`, value: stock.value - 1, ...unchanged(stock) },
    ],
    publish: [{ topic: "accepted", data: { id, item } }],
    schedule: [{ name: `remind-${id}`, dueTime: "24h", data: { id } }],
    call: [{ to: "app://mailer/send", body: { to: mail, text: `we have your order ${id}` } }],
    reply: { status: 201, body: { id, left: stock.value - 1 } },
  };
}

async function paid({ id }) {
  const stored = await read(`order-${id}`, {});
  return {
    state: [{ key: `order-${id}`, value: { ...stored.value, status: "paid" }, ...unchanged(stored) }],
    call: [{ to: "app://mailer/send", body: { to: stored.value.mail, text: `order ${id} is paid` } }],
  };
}

const unchanged = ({ etag }) => (etag === null ? { concurrency: "first-write" } : { etag });

async function read(key, otherwise) {
  const got = await fetch(`${runtime}/state/statestore/${key}`);
  if (got.status === 204) return { value: otherwise, etag: null };
  return { value: await got.json(), etag: got.headers.get("etag") };
}

function answer(response, effects) {
  response.writeHead(200, { "content-type": "application/vnd.mecha.effects+json" });
  response.end(JSON.stringify(effects));
}

async function text(stream) {
  let all = "";
  for await (const chunk of stream) all += chunk;
  return all;
}
