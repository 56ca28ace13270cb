// Hears every greeting, also those published while it was not running, and keeps the last one.
import { createServer } from "node:http";

const runtime = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0`;
const subscriptions = [{ pubsubname: "pubsub", topic: "greetings", route: "/heard" }];

const server = createServer(async (request, response) => {
  if (request.url === "/dapr/subscribe") {
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(subscriptions));
  }
  if (request.url !== "/heard") return response.writeHead(404).end();
  let body = "";
  for await (const chunk of request) body += chunk;
  const { message } = JSON.parse(body).data;
  console.log(`heard: ${message}`);
  const saved = await fetch(`${runtime}/state/statestore`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([{ key: "last", value: message }]),
  });
  // Any answer but 2xx or 404 brings the message again later.
  response.writeHead(saved.ok ? 200 : 500).end();
});
server.listen(Number(process.env.APP_PORT), "127.0.0.1");
