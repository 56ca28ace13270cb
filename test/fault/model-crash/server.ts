// The server of a language model and of keys as a process of its own, to be stopped and killed: PORT and the keys as JSON.
import { createServer } from "node:http";
import { serveOpenAi } from "../../contract/model-server.ts";

const [port = "0", keys = "{}"] = process.argv.slice(2);
const server = createServer(async (request, response) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  const answer =
    request.method === "GET" ? keys : JSON.stringify(serveOpenAi(JSON.parse(text), request.headers));
  response.writeHead(200, { "content-type": "application/json" }).end(answer);
});
server.listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
