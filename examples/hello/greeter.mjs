// Greets, counts greetings in the state store, and publishes each of them. Plain Node: the runtime is HTTP on localhost.
import { createServer } from "node:http";

const runtime = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0`;

const server = createServer(async (request, response) => {
  if (request.method !== "POST" || request.url !== "/greet") return response.writeHead(404).end();
  const { name } = JSON.parse(await text(request));
  const count = (await read("count", 0)) + 1;
  await call("/state/statestore", [{ key: "count", value: count }]);
  const greeting = { message: `Hello ${name}, you are number ${count}` };
  await call("/publish/pubsub/greetings", greeting);
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(greeting));
});
server.listen(Number(process.env.APP_PORT), "127.0.0.1");

async function read(key, otherwise) {
  const answer = await fetch(`${runtime}/state/statestore/${key}`);
  return answer.status === 204 ? otherwise : answer.json();
}

async function call(path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(runtime + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
}

async function text(stream) {
  let all = "";
  for await (const chunk of stream) all += chunk;
  return all;
}
