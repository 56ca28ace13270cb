// The order service: takes a checkout, reserves stock at the inventory service, stores the order, tells the world.
import { CommunicationProtocolEnum, DaprServer, HttpMethod } from "@dapr/dapr";

const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  clientOptions: { daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT },
  logger: { level: 0 },
});
const { client } = server;

await server.invoker.listen("checkout", ({ body }) => checkout(JSON.parse(body)).catch(refused), {
  method: HttpMethod.POST,
});
await server.start();

async function checkout({ orderId, item }) {
  const reservation = await client.invoker.invoke("inventory", "reserve", HttpMethod.POST, {
    orderId,
    item,
  });
  if (!reservation.reserved) throw new Error(`no stock of ${item} for ${orderId}`);

  const saved = await client.state.save("statestore", [
    { key: orderId, value: { orderId, item, state: "placed" } },
  ]);
  if (saved.error) throw saved.error;

  const sent = await client.pubsub.publish("pubsub", "orders", { orderId, item });
  if (sent.error) throw sent.error;
  return { orderId, accepted: true };
}

// The runtime may be away for a moment: the caller hears "not accepted" and tries again with the same order id.
function refused(error) {
  return { accepted: false, reason: String(error) };
}
