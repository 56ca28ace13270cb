// Calls orders every 20 ms and tells each second who answered. GET /tally says it since it was asked last.
import { createServer } from "node:http";

const api = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0/invoke/orders/method`;
const slowMs = 200;
const fresh = () => ({ v1: 0, v2: 0, failed: 0, slow: 0, cached: 0 });
let tally = fresh();
let second = fresh();
let sent = 0;

async function call(path) {
  const startedMs = performance.now();
  const count = (name) => {
    tally[name]++;
    second[name]++;
  };
  try {
    const answer = await fetch(`${api}${path}`);
    const body = await answer.json();
    count(answer.ok ? body.version : "failed");
    if (answer.headers.get("cache-status")?.includes("hit")) count("cached");
  } catch {
    count("failed");
  }
  if (performance.now() - startedMs > slowMs) count("slow");
}

function shown({ v1, v2, failed, slow, cached }) {
  return `v1 ${v1}  v2 ${v2}  failed ${failed}  slow ${slow}  cached ${cached}`;
}

createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify(tally)}\n`);
  tally = fresh();
}).listen(Number(process.env.PORT), "127.0.0.1", () => {
  console.log("shop is ready");
  setInterval(() => {
    void call(`/orders/${++sent}`);
    void call("/catalogue");
  }, 20);
  setInterval(() => {
    console.log(shown(second));
    second = fresh();
  }, 1000);
});
