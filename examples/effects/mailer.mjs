// Sends mails, at least so it says. All tries of one call carry the same Idempotency-Key.
import { createServer } from "node:http";

const sent = new Set();

const server = createServer(async (request, response) => {
  if (request.method !== "POST" || request.url !== "/send") return response.writeHead(404).end();
  let body = "";
  for await (const chunk of request) body += chunk;
  const key = request.headers["idempotency-key"];
  if (!sent.has(key)) {
    sent.add(key);
    const { to, text } = JSON.parse(body);
    console.log(`mail to ${to}: ${text}`);
  }
  response.writeHead(204).end();
});
server.listen(Number(process.env.APP_PORT), "127.0.0.1");
