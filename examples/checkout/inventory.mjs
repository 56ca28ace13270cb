// The inventory service: reserves one piece per order, at most once per order id, and books what was ordered.
import { CommunicationProtocolEnum, DaprServer, HttpMethod } from "@dapr/dapr";

const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  clientOptions: { daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT },
  logger: { level: 0 },
});
const { client } = server;

await server.invoker.listen("reserve", ({ body }) => reserve(JSON.parse(body)).catch(refused), {
  method: HttpMethod.POST,
});

// At least once: the same order may be announced twice, and is booked once.
await server.pubsub.subscribe("pubsub", "orders", async ({ orderId, item }) => {
  const saved = await client.state.save("statestore", [
    { key: `booked-${orderId}`, value: { orderId, item } },
  ]);
  if (saved.error) throw saved.error;
});

await server.start();

// A checkout may be tried again after a crash: the reservation is keyed by the order, so a second try changes nothing.
async function reserve({ orderId, item }) {
  const saved = await client.state.save("statestore", [
    { key: `reservation-${orderId}`, value: { orderId, item } },
  ]);
  if (saved.error) throw saved.error;
  return { reserved: true };
}

function refused(error) {
  return { reserved: false, reason: String(error) };
}
