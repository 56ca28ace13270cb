// The application of the publish bench: counts messages and acknowledges each with 200. `GET /count` tells how many.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const [pubsubName = "pubsub", topic = "bench"] = process.argv.slice(2);
const subscriptions = JSON.stringify([{ pubsubname: pubsubName, topic, route: "/messages" }]);
let count = 0;

const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.url === "/messages") count++;
    const body =
      request.url === "/dapr/subscribe" ? subscriptions : request.url === "/count" ? String(count) : "";
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length }).end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
