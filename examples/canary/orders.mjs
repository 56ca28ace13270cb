// GET /orders/N says who answered; GET /catalogue may be kept for two seconds.
import { createServer } from "node:http";

const version = process.env.VERSION;
let seen = 0;

createServer((request, response) => {
  seen++;
  if (seen % 50 === 0) console.log(`${version} has seen ${seen} requests`);
  const headers = { "content-type": "application/json" };
  if (request.url.startsWith("/catalogue")) headers["cache-control"] = "max-age=2";
  response.writeHead(200, headers).end(JSON.stringify({ version, path: request.url }));
}).listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`orders ${version} is ready`));
